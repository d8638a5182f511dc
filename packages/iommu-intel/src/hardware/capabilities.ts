import { hex } from "@iommu-lab/memory";
import type { Values } from "@iommu-lab/memory/layout";
import { CAP_REG, ECAP_REG } from "../layouts/index.ts";

type Cap = Values<typeof CAP_REG.fields>;
type Ecap = Values<typeof ECAP_REG.fields>;

/** What a unit can do: the fields of its capability registers, and the width of the addresses it sends to memory. */
export interface VtdCapabilities {
  /** Major version in bits 7:4, minor in 3:0, as VER_REG holds them. */
  readonly version: number;
  readonly cap: Readonly<Cap>;
  readonly ecap: Readonly<Ecap>;
  /** HAW: bits of a host-physical address, 32 to 52; bits above it are reserved in every table. From the DMAR table, not from a register. */
  readonly hostAddressWidth: number;
}

/** What differs from `LEGACY` or `SCALABLE`. */
export interface CapabilityChanges {
  readonly version?: number;
  readonly cap?: Partial<Cap>;
  readonly ecap?: Partial<Ecap>;
  readonly hostAddressWidth?: number;
}

const zero = <T extends object>(fields: T): Record<keyof T, number> => Object.fromEntries(Object.keys(fields).map((name) => [name, 0])) as Record<keyof T, number>;
const NO_CAP: Cap = zero(CAP_REG.fields);
const NO_ECAP: Ecap = zero(ECAP_REG.fields);

/** A unit without scalable mode: 39- and 48-bit second stage, large pages, queue, device-TLBs, interrupt remapping and posting, eight fault records. */
export const LEGACY: VtdCapabilities = {
  version: 0x10,
  cap: { ...NO_CAP, ND: 6, PLMR: 1, PHMR: 1, SAGAW: 0b0110, MGAW: 47, ZLR: 1, FRO: 0x300, SSLPS: 0b11, PSI: 1, NFR: 7, MAMV: 18, DWD: 1, DRD: 1, PI: 1 },
  ecap: { ...NO_ECAP, C: 1, QI: 1, DT: 1, IR: 1, EIM: 1, PT: 1, SC: 1, IRO: 0x50, MHMV: 15 },
  hostAddressWidth: 46,
};

/** A unit with everything that revision 4.1 knows, but for what excludes or replaces other parts (RWBF, CM, AFL, virtual commands, execute requests). */
export const SCALABLE: VtdCapabilities = {
  version: 0x60,
  cap: { ...LEGACY.cap, SAGAW: 0b1110, MGAW: 56, FS1GP: 1, FS5LP: 1, ECMDS: 1, ESIRTPS: 1, ESRTPS: 1 },
  ecap: { ...LEGACY.ecap, MTS: 1, NEST: 1, PRS: 1, SRS: 1, NWFS: 1, EAFS: 1, PSS: 19, PASID: 1, DIT: 1, PDS: 1, SMTS: 1, SSADS: 1, SSTS: 1, FSTS: 1, SMPWCS: 1, RPS: 1, PMS: 1, ADMS: 1, RPRIVS: 1 },
  hostAddressWidth: 52,
};

/** The given capabilities with changes. @throws RangeError when the result contradicts itself */
export const withCapabilities = (base: VtdCapabilities, changes: CapabilityChanges): VtdCapabilities => {
  const result: VtdCapabilities = {
    version: changes.version ?? base.version,
    cap: { ...base.cap, ...changes.cap },
    ecap: { ...base.ecap, ...changes.ecap },
    hostAddressWidth: changes.hostAddressWidth ?? base.hostAddressWidth,
  };
  const problem = contradictionOf(result);
  if (problem !== undefined) throw new RangeError(problem);
  return result;
};

/** Raw register values, as a kernel log or a recorded trace has them: bits 31:0, bits 63:32. */
export interface RawCapabilities {
  readonly version: number;
  readonly cap: readonly [low: number, high: number];
  readonly ecap: readonly [low: number, high: number];
  readonly hostAddressWidth: number;
}

/** Takes capabilities from raw register values; what they contradict themselves in is left as it is. @throws RangeError when the address width is none of 32 to 52 */
export const capabilitiesOf = (raw: RawCapabilities): VtdCapabilities => {
  if (!Number.isInteger(raw.hostAddressWidth) || raw.hostAddressWidth < 32 || raw.hostAddressWidth > 52) throw new RangeError(`A host address width of ${raw.hostAddressWidth} bits is impossible; it is from 32 to 52.`);
  return {
    version: raw.version,
    cap: CAP_REG.layout.decode(Uint32Array.from(raw.cap)),
    ecap: ECAP_REG.layout.decode(Uint32Array.from(raw.ecap)),
    hostAddressWidth: raw.hostAddressWidth,
  };
};

/** Why no hardware can have these capabilities, or undefined when one can. VT-d §11.4.2, §11.4.3 (dependencies of fields). */
const contradictionOf = ({ cap, ecap, hostAddressWidth }: VtdCapabilities): string | undefined => {
  const needs = (have: number, name: string, need: number, needName: string): string | undefined => (have && !need ? `${name} needs ${needName}.` : undefined);
  if (!Number.isInteger(hostAddressWidth) || hostAddressWidth < 32 || hostAddressWidth > 52) return `A host address width of ${hostAddressWidth} bits is impossible; it is from 32 to 52.`;
  if ((cap.SAGAW & 0b1110) === 0 && (!ecap.SMTS || ecap.SSTS)) return "CAP.SAGAW allows no table depth; set bit 1 (39-bit), 2 (48-bit) or 3 (57-bit).";
  const faults = [cap.FRO * 16, (cap.FRO + cap.NFR + 1) * 16];
  const iotlb = [ecap.IRO * 16, ecap.IRO * 16 + 16];
  if (faults[0]! < iotlb[1]! && iotlb[0]! < faults[1]!) return `CAP.FRO and ECAP.IRO place registers on top of each other at offset ${hex(iotlb[0]!)}.`;
  if (faults[0]! < 0xf0 || iotlb[0]! < 0xf0) return `CAP.FRO (${hex(cap.FRO)}) or ECAP.IRO (${hex(ecap.IRO)}) places registers on top of the fixed ones; both are at least 0xf.`;
  return (
    needs(cap.PI, "CAP.PI", ecap.IR, "ECAP.IR") ??
    needs(ecap.EIM, "ECAP.EIM", ecap.IR, "ECAP.IR") ??
    needs(ecap.IR, "ECAP.IR", ecap.QI, "ECAP.QI") ??
    needs(ecap.DT, "ECAP.DT", ecap.QI, "ECAP.QI") ??
    needs(ecap.SMTS, "ECAP.SMTS", ecap.QI, "ECAP.QI") ??
    needs(ecap.SSTS, "ECAP.SSTS", ecap.SMTS, "ECAP.SMTS") ??
    needs(ecap.FSTS, "ECAP.FSTS", ecap.SMTS, "ECAP.SMTS") ??
    needs(ecap.NEST, "ECAP.NEST", ecap.FSTS & ecap.SSTS, "ECAP.FSTS and ECAP.SSTS") ??
    needs(ecap.SSADS, "ECAP.SSADS", ecap.SSTS, "ECAP.SSTS") ??
    needs(ecap.PASID, "ECAP.PASID", ecap.SMTS, "ECAP.SMTS") ??
    needs(ecap.PRS, "ECAP.PRS", ecap.DT, "ECAP.DT") ??
    needs(ecap.RPS, "ECAP.RPS", ecap.SMTS, "ECAP.SMTS") ??
    needs(ecap.PDS, "ECAP.PDS", ecap.PRS, "ECAP.PRS") ??
    needs(cap.FS5LP, "CAP.FS5LP", ecap.FSTS, "ECAP.FSTS") ??
    needs(cap.FS1GP, "CAP.FS1GP", ecap.FSTS, "ECAP.FSTS")
  );
};
