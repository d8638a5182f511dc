/** A command: two quadwords. AMD-Vi §2.4 "Commands". */
export type Command = readonly [bigint, bigint];

const code = (opcode: number): bigint => BigInt(opcode) << 60n;
/** Everything, as an address with S. */
const EVERYTHING = 0x7fff_ffff_ffff_f000n;
const SIZED = 1n;
const DIRECTORIES = 2n;

export const completionStore = (address: number, data: bigint): Command => [code(1) | BigInt(address) | 1n, data];
export const completionInterrupt: Command = [code(1) | 2n, 0n];
/** COMPLETION_WAIT with f: executed with everything before it done. */
export const completionFlush: Command = [code(1) | 4n, 0n];
export const invalidateDevice = (device: number): Command => [code(2) | BigInt(device), 0n];
/** INVALIDATE_IOMMU_PAGES of 2^shift bytes, with what is cached of the directories above them. AMD-Vi §2.4.3. */
export const invalidatePages = (domain: number, iova: bigint, shift: number, directories: boolean): Command => {
  const size = 1n << BigInt(shift);
  const base = iova & ~(size - 1n);
  // The lowest 0 from bit 12 up stands for half the size.
  const address = shift === 12 ? base : base | (((size >> 1n) - 1n) & ~0xfffn) | SIZED;
  return [code(3) | (BigInt(domain) << 32n), address | (directories ? DIRECTORIES : 0n)];
};
export const invalidateDomain = (domain: number): Command => [code(3) | (BigInt(domain) << 32n), EVERYTHING | SIZED | DIRECTORIES];
export const invalidateIotlb = (device: number, pending: number, iova: bigint): Command => [code(4) | (BigInt(pending) << 24n) | BigInt(device), iova & ~0xfffn];
export const invalidateInterrupts = (device: number): Command => [code(5) | BigInt(device), 0n];
/** PREFETCH_IOMMU_PAGES of `count` + 1 pages. */
export const prefetch = (device: number, count: number, iova: bigint): Command => [code(6) | (BigInt(count) << 24n) | BigInt(device), iova];
export const completePageRequest = (device: number, tag: number): Command => [code(7) | BigInt(device), BigInt(tag) << 32n];
export const invalidateAll: Command = [code(8), 0n];
