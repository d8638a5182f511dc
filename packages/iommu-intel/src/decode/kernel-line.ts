import { requesterText } from "@iommu-lab/pci-bus/decode";
import type { RequesterId } from "@iommu-lab/pci-bus";
import { FAULT_RECORD } from "../layouts/index.ts";
import { FIRST_INTERRUPT, INTERRUPT_REASONS, kernelWords } from "./kernel-words.ts";

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

/** The fault of a fault recording register's four words, as Linux takes it apart. */
export const kernelFaultOf = (record: ArrayLike<number>): KernelFault => {
  const { FI, SID, T1, FR, PP, PV } = FAULT_RECORD.decode(Uint32Array.from(record));
  // Only these are interrupts to the kernel; 27h to 29h it prints as DMA.
  const interrupt = FR >= FIRST_INTERRUPT && FR < FIRST_INTERRUPT + INTERRUPT_REASONS;
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
  const said = kernelWords(reason, kernel !== "3.10" && kernel !== "4.19");
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
