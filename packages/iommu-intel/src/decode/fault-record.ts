import { decodeBits, hex, requesterText, wordsOf, type Fact, type Finding, type Told } from "@iommu-lab/pci-bus/decode";
import { FAULT_REASONS, FAULT_RECORD } from "../layouts/index.ts";

/** What a fault reason code says, for all codes. VT-d §7.1.3. */
export const describeReason = (code: number): { readonly reason: number; readonly reasonName: string | null; readonly reasonText: string; readonly interrupt: boolean } => {
  const known = FAULT_REASONS[code];
  return { reason: code, reasonName: known && known.name !== "" ? known.name : null, reasonText: known?.text ?? "Not a fault reason of the specification", interrupt: code >= 0x20 && code <= 0x29 };
};

/** "0x5 (LGN.2): No write permission." */
export const reasonSentence = (code: number): string => {
  const { reasonName, reasonText } = describeReason(code);
  return `Reason ${hex(code)}${reasonName === null ? "" : ` (${reasonName})`}: ${reasonText}.`;
};

const ACCESS = ["write", "page request", "read", "atomic"] as const;

/** A fault recording register. VT-d §11.4.7.6. */
export const decodeFaultRecord = (value: bigint, offset = 0): Told => {
  const record = FAULT_RECORD.decode(wordsOf(value, 128));
  const described = describeReason(record.FR);
  const access = ACCESS[record.T1 * 2 + record.T2] as string;
  const address = BigInt(record.FI) << 12n;
  const index = Number(address >> 48n);
  const facts: Record<string, Fact> = {
    valid: record.F === 1,
    requester: requesterText(record.SID),
    ...described,
    ...(described.interrupt ? { interruptIndex: index } : { address, access }),
    pasid: record.PP ? record.PV : null,
    execute: record.EXE === 1,
    privileged: record.PRIV === 1,
  };
  const findings: Finding[] = [];
  if (!record.F) findings.push({ id: "fault-record-empty", offset, text: "F is 0: the record is not valid, its other fields are leftovers." });
  if (!(record.FR in FAULT_REASONS)) findings.push({ id: "fault-reason-unknown", offset, text: `Fault reason ${hex(record.FR)} is not in the specification.` });
  if (!record.PP && (record.PRIV || record.EXE)) findings.push({ id: "fault-attributes-without-pasid", offset, text: "PRIV and EXE have a meaning only with PP." });
  const who = `${requesterText(record.SID)}${record.PP ? ` with PASID ${hex(record.PV)}` : ""}`;
  const what = described.interrupt ? `sent an interrupt with index ${hex(index)}` : `asked for a ${access} at ${hex(address)}`;
  return decodeBits(FAULT_RECORD, value, offset, { facts, meaning: [`${who} ${what}, which was blocked.`, reasonSentence(record.FR)], findings });
};
