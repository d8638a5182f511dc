export const hexBytes = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** A record with its raw bytes as strings of hexadecimal digits. */
export const plain = (value: object): Record<string, unknown> => Object.fromEntries(Object.entries(value).map(([key, item]: [string, unknown]) => [key, item instanceof Uint8Array ? hexBytes(item) : item]));
