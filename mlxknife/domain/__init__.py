"""The domain: values, rules and services by subject. Nothing here does IO or imports a vendor library."""
