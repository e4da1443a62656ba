declare const brand: unique symbol;

/** A string that went through the one function that may make it. */
export type Brand<T, Name extends string> = T & { readonly [brand]: Name };
