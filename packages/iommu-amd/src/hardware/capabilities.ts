import type { Values } from "@iommu-lab/memory/layout";
import { EFR, EFR2 } from "../layouts/index.ts";

type Efr = Values<typeof EFR.fields>;
type Efr2 = Values<typeof EFR2.fields>;

/** What an IOMMU can do: its feature registers, and what its PCI capability block and MMIO map say beside. */
export interface AmdCapabilities {
  readonly efr: Readonly<Efr>;
  readonly efr2: Readonly<Efr2>;
  /** PAsize: bits of a host-physical address, 32 to 52. */
  readonly physicalAddressWidth: number;
  /** NpCache: entries that are not present may be cached. */
  readonly npCache: boolean;
  /** IotlbSup: translation requests are answered. */
  readonly iotlbSup: boolean;
  /** DTE bits 6:4 are CXL memory attributes, as since revision 3.11; otherwise reserved. */
  readonly cxlAttributes: boolean;
  /** Counter banks, 1 to 63 with EFR.PCSup. */
  readonly counterBanks: number;
  /** Counters in a bank, 1 to 15 with EFR.PCSup. */
  readonly counters: number;
  /** MSI message numbers of the three interrupts: event log and completion wait, PPR log, GA log. */
  readonly messageNumbers: { readonly general: number; readonly ppr: number; readonly ga: number };
}

/** What differs from `ZEN` or `FULL`. */
export interface CapabilityChanges extends Partial<Omit<AmdCapabilities, "efr" | "efr2">> {
  readonly efr?: Partial<Efr>;
  readonly efr2?: Partial<Efr2>;
}

const zero = <T extends object>(fields: T): Record<keyof T, number> => Object.fromEntries(Object.keys(fields).map((name) => [name, 0])) as Record<keyof T, number>;
const NO_EFR: Efr = zero(EFR.fields);
const NO_EFR2: Efr2 = zero(EFR2.fields);

/** What desktop processors since Zen have in common: 6-level host tables, guest tables with 16-bit PASIDs, PPR, ATS, guest virtual APIC, x2APIC. */
export const ZEN: AmdCapabilities = {
  efr: { ...NO_EFR, PPRSup: 1, XTSup: 1, NXSup: 1, GTSup: 1, IASup: 1, GASup: 1, PCSup: 1, HATS: 2, GLXSup: 1, GAMSup: 1, PASMax: 15, USSup: 1, MsiCapMmioSup: 1, GIoSup: 1, HASup: 1, HDSup: 1, EPHSup: 1 },
  efr2: NO_EFR2,
  physicalAddressWidth: 48,
  npCache: false,
  iotlbSup: true,
  cxlAttributes: false,
  counterBanks: 2,
  counters: 4,
  messageNumbers: { general: 0, ppr: 0, ga: 0 },
};

/** Everything that the model knows, but for what restricts it (SNP, HyperTransport ranges ignored, NpCache). */
export const FULL: AmdCapabilities = {
  efr: {
    ...ZEN.efr,
    PreFSup: 1,
    GAPPISup: 1,
    HESup: 1,
    GATS: 1,
    GLXSup: 2,
    SmiFSup: 1,
    SmiFRC: 4,
    DualPprLogSup: 2,
    DualEventLogSup: 2,
    PASMax: 19,
    DevTblSegSup: 3,
    PprOvrflwEarlySup: 1,
    PPRAutoRspSup: 1,
    MarcSup: 1,
    PerfOptSup: 1,
    InvIotlbTypeSup: 1,
    GAUpdateDisSup: 1,
  },
  efr2: { ...NO_EFR2, GCR3TRPMode: 1, NumIntRemapSup: 1 },
  physicalAddressWidth: 52,
  npCache: false,
  iotlbSup: true,
  cxlAttributes: true,
  counterBanks: 2,
  counters: 4,
  messageNumbers: { general: 0, ppr: 1, ga: 2 },
};

/** The given capabilities with changes. @throws RangeError when the result contradicts itself */
export const withCapabilities = (base: AmdCapabilities, changes: CapabilityChanges): AmdCapabilities => {
  const result: AmdCapabilities = { ...base, ...changes, efr: { ...base.efr, ...changes.efr }, efr2: { ...base.efr2, ...changes.efr2 } };
  const problem = contradictionOf(result);
  if (problem !== undefined) throw new RangeError(problem);
  return result;
};

/** Raw register values, as a kernel log or a recorded trace has them: bits 31:0, bits 63:32. */
export interface RawCapabilities extends Partial<Omit<AmdCapabilities, "efr" | "efr2">> {
  readonly efr: readonly [low: number, high: number];
  readonly efr2?: readonly [low: number, high: number];
}

/**
 * Takes capabilities from raw register values; what they contradict themselves in is left as it is. What is not given is as in `ZEN`.
 * @throws RangeError when the address width is none of 32 to 52
 */
export const capabilitiesOf = ({ efr, efr2 = [0, 0], ...rest }: RawCapabilities): AmdCapabilities => {
  const result: AmdCapabilities = { ...ZEN, ...rest, efr: EFR.layout.decode(Uint32Array.from(efr)), efr2: EFR2.layout.decode(Uint32Array.from(efr2)) };
  const problem = wrongWidth(result.physicalAddressWidth);
  if (problem !== undefined) throw new RangeError(problem);
  return result;
};

const wrongWidth = (bits: number): string | undefined => (Number.isInteger(bits) && bits >= 32 && bits <= 52 ? undefined : `A physical address width of ${bits} bits is impossible; it is from 32 to 52.`);

/** Why no hardware can have these capabilities, or undefined when one can. AMD-Vi §3.4.1 (dependencies of fields). */
const contradictionOf = (capabilities: AmdCapabilities): string | undefined => {
  const { efr, efr2, physicalAddressWidth, counterBanks, counters, messageNumbers } = capabilities;
  const needs = (have: number, name: string, need: number, needName: string): string | undefined => (have && !need ? `EFR.${name} needs EFR.${needName}.` : undefined);
  if (efr.GATS > 1) return `EFR.GATS is ${efr.GATS}; 0 (4 levels) and 1 (5 levels) are allowed.`;
  if (efr.GLXSup > 2) return `EFR.GLXSup is ${efr.GLXSup}; 0 to 2 are allowed.`;
  if (efr.PASMax > 19) return `EFR.PASMax is ${efr.PASMax}; a PASID has at most 20 bits (19).`;
  if (efr.SmiFRC > 4) return `EFR.SmiFRC is ${efr.SmiFRC}; there are at most 16 SMI filter registers (4).`;
  if (efr2.NumIntRemapSup > 1) return `EFR2.NumIntRemapSup is ${efr2.NumIntRemapSup}; 0 and 1 are allowed.`;
  if (efr.HATS === 3 && !efr.GTSup) return "EFR.HATS is 3 (no host translation), which needs EFR.GTSup.";
  if (efr.PCSup && !(counterBanks >= 1 && counterBanks < 64 && counters >= 1 && counters < 16)) return `EFR.PCSup needs 1 to 63 counter banks of 1 to 15 counters; these are ${counterBanks} of ${counters}.`;
  if (Object.values(messageNumbers).some((number) => !(number >= 0 && number < 32))) return "MSI message numbers are from 0 to 31.";
  return (
    wrongWidth(physicalAddressWidth) ??
    needs(efr.HDSup, "HDSup", efr.HASup, "HASup") ??
    needs(efr.GIoSup, "GIoSup", efr.GTSup, "GTSup") ??
    needs(efr.XTSup, "XTSup", efr.GASup, "GASup") ??
    needs(efr.GAMSup, "GAMSup", efr.GASup, "GASup") ??
    needs(efr.DualPprLogSup, "DualPprLogSup", efr.PPRSup, "PPRSup") ??
    needs(efr.PprOvrflwEarlySup, "PprOvrflwEarlySup", efr.PPRSup, "PPRSup") ??
    needs(efr.PPRAutoRspSup, "PPRAutoRspSup", efr.PPRSup, "PPRSup")
  );
};
