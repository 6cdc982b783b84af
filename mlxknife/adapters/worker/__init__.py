"""Models in processes of their own: the side that starts and watches them, and the side that hosts one."""
