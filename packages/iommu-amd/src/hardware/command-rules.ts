import { COMMANDS } from "../layouts/index.ts";
import type { AmdCapabilities } from "./capabilities.ts";

/** Reserved bits of each command's four words, by 4 · opcode; everything is reserved in those that do not exist. AMD-Vi §2.4. */
const RESERVED = new Int32Array(64).fill(-1);
for (const [opcode, { reserved }] of Object.entries(COMMANDS)) RESERVED.set(reserved, 4 * Number(opcode));

/** Which opcodes an IOMMU with these capabilities has, as a bit set. */
export const supportedCommands = ({ efr, iotlbSup }: AmdCapabilities): number => (1 << 1) | (1 << 2) | (1 << 3) | (iotlbSup ? 1 << 4 : 0) | (1 << 5) | (efr.PreFSup << 6) | (efr.PPRSup << 7) | (efr.IASup << 8);

/** Whether a command is legal: its opcode is there, and its reserved bits are 0. AMD-Vi §2.5.6. @param w0 its first word; the words are int32 */
export const isLegalCommand = (supported: number, w0: number, w1: number, w2: number, w3: number): boolean => {
  const opcode = w1 >>> 28;
  const rule = 4 * opcode;
  return ((supported >>> opcode) & 1) !== 0 && ((w0 & (RESERVED[rule] as number)) | (w1 & (RESERVED[rule + 1] as number)) | (w2 & (RESERVED[rule + 2] as number)) | (w3 & (RESERVED[rule + 3] as number))) === 0;
};
