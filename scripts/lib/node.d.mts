/** Since 22.18 Node runs TypeScript as it is; before, it has to be told. */
export declare function typeStrippingFlags(version?: string): string[];
