import { requesterText } from "@iommu-lab/pci-bus/decode";
import type { RequesterId } from "@iommu-lab/pci-bus";
import { FAULT_RECORD } from "../layouts/index.ts";

/** Kernels whose lines are known; a later one writes as the last of them that is not newer. */
export const KERNELS = ["3.10", "4.19", "5.10", "5.15", "6.1", "6.12"] as const;
export type Kernel = (typeof KERNELS)[number];

/** What the driver knows of a fault when it writes its line. */
export interface KernelFault {
  readonly requester: RequesterId;
  readonly access: "read" | "write" | "interrupt";
  /** Address of the page; of an interrupt its index. */
  readonly address: bigint;
  /** Null without PASID. */
  readonly pasid: number | null;
  readonly reason: number;
}

/** What the kernel says of reasons, searched for by people since 2009. Scalable mode's are left out: its lines end after "SM:". */
const DMA_WORDS = [
  "Software",
  "Present bit in root entry is clear",
  "Present bit in context entry is clear",
  "Invalid context entry",
  "Access beyond MGAW",
  "PTE Write access is not set",
  "PTE Read access is not set",
  "Next page table ptr is invalid",
  "Root table address invalid",
  "Context table ptr is invalid",
  "non-zero reserved fields in RTP",
  "non-zero reserved fields in CTP",
  "non-zero reserved fields in PTE",
  "PCE for translation request specifies blocking",
] as const;
const INTERRUPT_WORDS = [
  "Detected reserved fields in the decoded interrupt-remapped request",
  "Interrupt index exceeded the interrupt-remapping table size",
  "Present field in the IRTE entry is clear",
  "Error accessing interrupt-remapping table pointed by IRTA_REG",
  "Detected reserved fields in the IRTE entry",
  "Blocked a compatibility format interrupt request",
  "Blocked an interrupt request due to source-id verification failure",
] as const;

const FIRST_INTERRUPT = 0x20;
const FIRST_SCALABLE = 0x30;

const wordsOf = (reason: number): string => DMA_WORDS[reason] ?? INTERRUPT_WORDS[reason - FIRST_INTERRUPT] ?? (reason >= FIRST_SCALABLE ? "SM:" : "Unknown");

/** The fault of a fault recording register's four words, as Linux takes it apart. */
export const kernelFaultOf = (record: ArrayLike<number>): KernelFault => {
  const { FI, SID, T1, FR, PP, PV } = FAULT_RECORD.decode(Uint32Array.from(record));
  // Only these are interrupts to the kernel; 27h to 29h it prints as DMA.
  const interrupt = FR >= FIRST_INTERRUPT && FR < FIRST_INTERRUPT + INTERRUPT_WORDS.length;
  const address = BigInt(FI) << 12n;
  return { requester: SID, access: interrupt ? "interrupt" : T1 === 1 ? "read" : "write", address: interrupt ? address >> 48n : address, pasid: PP === 1 ? PV : null, reason: FR };
};

const decimal = (value: number): string => String(value).padStart(2, "0");
const hexadecimal = (value: number): string => value.toString(16).padStart(2, "0");

/** The line that a kernel of Linux writes about a fault, without time and level; before 4.6 it is two lines. */
export const kernelLine = (fault: KernelFault, kernel: Kernel): string => {
  const { access, reason, pasid } = fault;
  const device = requesterText(fault.requester);
  const address = fault.address.toString(16);
  const what = access === "read" ? "DMA Read" : "DMA Write";
  const said = wordsOf(reason);
  switch (kernel) {
    case "3.10":
      return access === "interrupt" ? `dmar: INTR-REMAP: Request device [[${device}] fault index ${address}\nINTR-REMAP:[fault reason ${decimal(reason)}] ${said}` : `dmar: DMAR:[${what}] Request device [${device}] fault addr ${address} \nDMAR:[fault reason ${decimal(reason)}] ${said}`;
    case "4.19":
    case "5.10": {
      if (access === "interrupt") return `DMAR: [INTR-REMAP] Request device [${device}] fault index ${address} [fault reason ${decimal(reason)}] ${said}`;
      const tagged = kernel === "4.19" ? "" : ` PASID ${(pasid ?? 0xffff_ffff).toString(16)}`;
      return `DMAR: [${what}] Request device [${device}]${tagged} fault addr ${address} [fault reason ${decimal(reason)}] ${said}`;
    }
    default: {
      const end = `[fault reason 0x${hexadecimal(reason)}] ${said}`;
      return access === "interrupt" ? `DMAR: [INTR-REMAP] Request device [${device}] fault index 0x${address} ${end}` : `DMAR: [${what} ${pasid === null ? "NO_PASID" : `PASID 0x${pasid.toString(16)}`}] Request device [${device}] fault addr 0x${address} ${end}`;
    }
  }
};
