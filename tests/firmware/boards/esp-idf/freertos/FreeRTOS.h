/* The example's driver needs it first. */
