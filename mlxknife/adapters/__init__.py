"""The world, behind the ports. Each package is named for its technology and knows no other adapter."""
