void __wfi(void);
