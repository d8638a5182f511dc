let checked = false;

/**
 * Refuses a host whose typed arrays are big-endian: RAM is kept as the words of a `Uint32Array`, and PCI and x86 are little-endian.
 * @throws TypeError on a big-endian host
 */
export const requireLittleEndianHost = (): void => {
  if (checked) return;
  if (new Uint8Array(Uint32Array.of(1).buffer)[0] !== 1) throw new TypeError("This model keeps RAM in host words and needs a little-endian host; this one is big-endian.");
  checked = true;
};
