"""x"""
def check() -> int:
    """x"""
    return 0
