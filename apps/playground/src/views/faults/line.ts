import { decodeKernelLog as decodeAmd } from "@iommu-lab/iommu-amd/decode";
import { EVENTS } from "@iommu-lab/iommu-amd/layouts";
import { decodeKernelLog as decodeVtd } from "@iommu-lab/iommu-intel/decode";
import { FAULT_RECORD } from "@iommu-lab/iommu-intel/layouts";
import type { DecodedStructure } from "@iommu-lab/pci-bus/decode";
import { causeOfEvent, causeOfReason, type Cause } from "./causes.ts";

/** A line of a log that tells of a fault. */
export interface TracedLine {
  readonly vendor: "intel" | "amd";
  readonly offset: number;
  readonly meaning: readonly string[];
  readonly cause: Cause;
  /** The record that the hardware must have had, as far as the line tells. */
  readonly words: readonly number[];
  /** The request that it was. */
  readonly requester: number | undefined;
  readonly address: bigint | undefined;
  readonly access: "read" | "write" | "interrupt";
  readonly pasid: number | undefined;
}

const BDF = /([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])$/i;

/** A requester ID from "0000:01:00.0" or "01:00.0". */
const requesterOf = (text: unknown): number | undefined => {
  const [, bus, device, fn] = (typeof text === "string" ? BDF.exec(text) : null) ?? [];
  return bus === undefined ? undefined : (Number.parseInt(bus, 16) << 8) | ((Number.parseInt(device ?? "0", 16) & 31) << 3) | Number(fn);
};
const numberOf = (value: unknown): number | undefined => (typeof value === "number" ? value : undefined);
const bigintOf = (value: unknown): bigint | undefined => (typeof value === "bigint" ? value : undefined);

const vtdLine = ({ name, offset, facts, meaning }: DecodedStructure): TracedLine | undefined => {
  const reason = numberOf(facts.reason);
  if (name !== "fault" || reason === undefined) return undefined;
  const requester = requesterOf(facts.requester);
  const pasid = numberOf(facts.pasid);
  const access = facts.access === "interrupt" || facts.access === "write" ? facts.access : "read";
  const address = bigintOf(facts.address);
  const page = access === "interrupt" ? (numberOf(facts.interruptIndex) ?? 0) * 2 ** 36 : Number(((address ?? 0n) >> 12n) & ((1n << 52n) - 1n));
  const words = FAULT_RECORD.encode({ F: 1, FI: page, SID: requester ?? 0, FR: reason & 0xff, T1: access === "read" ? 1 : 0, ...(pasid === undefined ? {} : { PP: 1, PV: pasid }) });
  return { vendor: "intel", offset, meaning, cause: causeOfReason(reason), words: [...words], requester, address, access, pasid };
};

const RW = 0x20;
const I = 8;

const amdLine = ({ name, offset, facts, meaning }: DecodedStructure): TracedLine | undefined => {
  const code = Number(Object.entries(EVENTS).find(([, layout]) => layout.name === name)?.[0] ?? 0);
  if (code === 0) return undefined;
  const requester = requesterOf(facts.requester);
  const address = bigintOf(facts.address);
  const flags = numberOf(facts.flags) ?? 0;
  const pasid = numberOf(facts.pasid);
  const tag = pasid ?? numberOf(facts.domain) ?? 0;
  const at = address ?? 0n;
  const words = [(((requester ?? 0) | (tag & 0xf_0000)) >>> 0), ((code * 2 ** 28 + ((flags & 0xfff) << 16) + (tag & 0xffff)) >>> 0), Number(at & 0xffff_ffffn), Number(at >> 32n)];
  return { vendor: "amd", offset, meaning, cause: causeOfEvent(code, flags), words, requester, address, access: (flags & I) !== 0 ? "interrupt" : (flags & RW) !== 0 ? "write" : "read", pasid };
};

/** So many lines are listed. */
const MOST_LINES = 40;

/** Faults in a pasted text, of both vendors, in its order. */
export const traceLines = (text: string): readonly TracedLine[] =>
  [...decodeVtd(text).structures.map(vtdLine), ...decodeAmd(text).structures.map(amdLine)]
    .filter((line) => line !== undefined)
    .toSorted((a, b) => a.offset - b.offset)
    .slice(0, MOST_LINES);
