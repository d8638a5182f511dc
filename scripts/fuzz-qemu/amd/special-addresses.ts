/**
 * Whether an I/O virtual address is one that page tables do not decide: interrupts (which QEMU's edu would send as
 * someone else) and HyperTransport's ranges (which QEMU translates), both with a page in front, or the last of all.
 */
export const isSpecial = (iova: bigint): boolean => {
  const last = iova + 0x1fffn;
  const within = (first: bigint, end: bigint): boolean => last >= first && iova < end;
  return within(0xfee0_0000n, 0xfef0_0000n) || within(0xfd_0000_0000n, 0x100_0000_0000n) || last >= 0xffff_ffff_ffff_f000n;
};
