/** How many bytes of two arrays are equal, place by place, counting from `from` in the second. */
export const equalBytes = (a: Uint8Array, b: Uint8Array, from = 0): number => {
  let equal = 0;
  for (let i = 0; i < a.length; i++) if (a[i] === b[from + i]) equal++;
  return equal;
};

/** How many bytes have a value. */
export const bytesOf = (bytes: Uint8Array, value: number): number => {
  let found = 0;
  for (const byte of bytes) if (byte === value) found++;
  return found;
};
