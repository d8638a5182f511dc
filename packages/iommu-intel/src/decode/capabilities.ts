import { hex, wordsOf, type Fact, type Finding, type Interpretation } from "@iommu-lab/pci-bus/decode";
import { CAP_REG, ECAP_REG } from "../layouts/index.ts";

const listed = (names: readonly string[]): string => (names.length === 0 ? "none" : names.length === 1 ? (names[0] as string) : `${names.slice(0, -1).join(", ")} and ${names.at(-1) as string}`);

/** What a capability register says. VT-d §11.4.2 "Capability Register". */
export const interpretCap = (value: bigint, offset: number): Interpretation => {
  const cap = CAP_REG.layout.decode(wordsOf(value, 64));
  const widths = [39, 48, 57].filter((_, i) => (cap.SAGAW >>> (i + 1)) & 1);
  const pages = ["4 KiB", ...(cap.SSLPS & 1 ? ["2 MiB"] : []), ...(cap.SSLPS & 2 ? ["1 GiB"] : [])];
  const domains = cap.ND === 7 ? null : 2 ** (4 + 2 * cap.ND);
  const facts: Record<string, Fact> = {
    domains,
    guestAddressWidth: cap.MGAW + 1,
    tableWidths: widths,
    pageSizes: pages,
    faultRecordsOffset: hex(cap.FRO * 16),
    faultRecords: cap.NFR + 1,
    cachingMode: cap.CM === 1,
    postedInterrupts: cap.PI === 1,
  };
  const findings: Finding[] = [];
  const find = (id: string, text: string): void => void findings.push({ id, offset, text });
  if (domains === null) find("cap-domains-reserved", "ND is 7, which is reserved: the number of domains is not known.");
  if (widths.length === 0) find("cap-no-table-width", "SAGAW names no width for second-stage tables: without first-stage translation the unit cannot translate, and Linux refuses it.");
  if (widths.length > 0 && cap.MGAW + 1 < 30) find("cap-width-implausible", `MGAW allows ${cap.MGAW + 1}-bit addresses, less than any device uses.`);
  if (widths.length > 0 && cap.MGAW + 1 > Math.max(...widths)) find("cap-width-beyond-tables", `MGAW allows ${cap.MGAW + 1}-bit addresses, but tables reach ${Math.max(...widths)} bits.`);
  if (cap.CM) find("cap-caching-mode", "Caching mode is what virtual IOMMUs report: every change of the tables needs an invalidation, also from not present to present.");
  if (cap.RWBF) find("cap-write-buffer", "The unit needs its write buffer flushed after every change of the tables: an early chipset.");
  const meaning = [
    `${domains ?? "An unknown number of"} domains; addresses of up to ${cap.MGAW + 1} bits.`,
    `Second-stage tables of ${listed(widths.map((width) => `${width} bits`))}; pages of ${listed(pages)}.`,
    `${cap.NFR + 1} fault ${cap.NFR ? "records" : "record"} at offset ${hex(cap.FRO * 16)}.`,
    cap.PSI ? `Page-selective invalidation of up to 2^${cap.MAMV} pages.` : "No page-selective invalidation.",
    `Caching mode ${cap.CM ? "on" : "off"}; posted interrupts ${cap.PI ? "supported" : "not supported: an interrupt of an assigned device stops its guest"}.`,
  ];
  return { facts, meaning, findings };
};

/** Capabilities that need another: [which, what it needs]. VT-d §11.4.3. */
const NEEDS: readonly (readonly [keyof typeof ECAP_REG.fields, keyof typeof ECAP_REG.fields])[] = [
  ["IR", "QI"],
  ["EIM", "IR"],
  ["PRS", "DT"],
  ["PDS", "PRS"],
  ["DIT", "DT"],
  ["SMTS", "QI"],
  ["PASID", "SMTS"],
  ["SSTS", "SMTS"],
  ["FSTS", "SMTS"],
  ["NEST", "FSTS"],
  ["RPS", "SMTS"],
  ["SSADS", "SSTS"],
];

/** What an extended capability register says. VT-d §11.4.3 "Extended Capability Register". */
export const interpretEcap = (value: bigint, offset: number): Interpretation => {
  const ecap = ECAP_REG.layout.decode(wordsOf(value, 64));
  const features = (Object.keys(ECAP_REG.fields) as (keyof typeof ECAP_REG.fields)[]).filter((name) => ECAP_REG.fields[name].msb === ECAP_REG.fields[name].lsb && ecap[name] === 1);
  const findings: Finding[] = NEEDS.filter(([name, needed]) => ecap[name] && !ecap[needed]).map(([name, needed]) => ({ id: "ecap-contradiction", offset, text: `${name} is set but ${needed}, which it needs, is not.` }));
  if (!ecap.IR) findings.push({ id: "ecap-no-interrupt-remapping", offset, text: "The unit cannot remap interrupts: Linux gives no device behind it to a guest, unless told to allow unsafe interrupts." });
  if (!ecap.QI) findings.push({ id: "ecap-no-queue", offset, text: "The unit has no invalidation queue: interrupts cannot be remapped, and invalidations are slow." });
  if (!ecap.C) findings.push({ id: "ecap-not-coherent", offset, text: "Page walks do not look into processor caches: every change of the tables needs a cache line flush." });
  const modes = ["legacy", ...(ecap.SMTS ? ["scalable"] : []), ...(ecap.ADMS ? ["abort-DMA"] : [])];
  const facts: Record<string, Fact> = {
    modes,
    iotlbRegistersOffset: hex(ecap.IRO * 16),
    interruptRemapping: ecap.IR === 1,
    x2apic: ecap.EIM === 1,
    passThrough: ecap.PT === 1,
    deviceTlbs: ecap.DT === 1,
    pasidBits: ecap.PASID ? ecap.PSS + 1 : 0,
    features,
  };
  const meaning = [
    `Modes: ${listed(modes)}. IOTLB registers at offset ${hex(ecap.IRO * 16)}.`,
    ecap.IR ? `Interrupt remapping, ${ecap.EIM ? "also with 32-bit APIC identifiers (x2APIC)" : "for 8-bit APIC identifiers only"}.` : "No interrupt remapping.",
    ecap.PT ? "Pass-through supported." : "Pass-through not supported.",
    ecap.DT ? (ecap.PRS ? "Device-TLBs (ATS) supported, with page requests." : "Device-TLBs (ATS) supported.") : "Device-TLBs (ATS) not supported.",
    ...(ecap.SMTS ? [`Scalable mode with ${listed([...(ecap.SSTS ? ["second-stage"] : []), ...(ecap.FSTS ? ["first-stage"] : []), ...(ecap.NEST ? ["nested"] : [])])} translation${ecap.PASID ? ` and PASIDs of ${ecap.PSS + 1} bits` : ""}.`] : []),
  ];
  return { facts, meaning, findings };
};
