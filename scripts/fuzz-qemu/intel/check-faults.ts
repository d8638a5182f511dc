import type { Action } from "../program.ts";
import type { Configuration } from "./configuration.ts";

const FSTS = 0x34;
const PPF = 2n;

/** QEMU 7.2 leaves FFFFh in the PASID field of records without a PASID; in scalable mode its reason codes are those of legacy mode, and RID_PASID shows as a PASID. */
const recordMask = ({ scalable }: Configuration): { readonly mask: bigint; readonly why: string } =>
  scalable ? { mask: 0xf000_0000_7fff_ffffn, why: "QEMU reports legacy-mode reason codes here; scalable mode has its own; and RID_PASID" } : { mask: 0xf000_00ff_ffff_ffffn, why: "the PASID of a record without one is not compared" };

/** Reads FSTS, and the fault record if it holds one; then clears both if asked to. VT-d §11.4.7 "Fault Reporting Registers". */
export const checkFaults = (configuration: Configuration, clear: boolean): Action => ({
  op: "observe",
  observe: async (observer) => {
    const status = await observer.readRegister(FSTS, 4);
    if ((status & PPF) !== 0n) {
      const { mask, why } = recordMask(configuration);
      await observer.readRegister(0x220, 8, (1n << BigInt(configuration.aw)) - 1n, "bits above MGAW are reserved in FI; QEMU keeps them");
      await observer.readRegister(0x228, 8, mask, why);
    }
    if (!clear) return;
    // Both, in this order: QEMU keeps FECTL.IP until FSTS is written.
    if ((status & PPF) !== 0n) await observer.writeRegister(0x228, 8, 1n << 63n);
    await observer.writeRegister(FSTS, 4, 0x1n);
    await observer.readRegister(FSTS, 4);
  },
});
