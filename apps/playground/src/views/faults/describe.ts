import { decodeEvent, kernelLine as amdLine } from "@iommu-lab/iommu-amd/decode";
import { EVENTS } from "@iommu-lab/iommu-amd/layouts";
import { decodeFaultRecord, kernelFaultOf, kernelLine as vtdLine, type Kernel } from "@iommu-lab/iommu-intel/decode";
import { FAULT_RECORD } from "@iommu-lab/iommu-intel/layouts";
import type { AnyLayout } from "../bench/tables.ts";
import { causeOfEvent, causeOfReason, type Cause } from "./causes.ts";

const bigOf = (words: readonly number[]): bigint => words.reduceRight((sum, word) => (sum << 32n) | BigInt(word), 0n);
const codeOf = (words: readonly number[]): number => (words[1] ?? 0) >>> 28;

/** What a record says, in the package's words. */
export const meaningOf = (vendor: "intel" | "amd", words: readonly number[]): readonly string[] => (vendor === "intel" ? decodeFaultRecord : decodeEvent)(bigOf(words)).structure.meaning;

/** The line that a kernel writes about it. */
export const lineOf = (vendor: "intel" | "amd", words: readonly number[], kernel: Kernel): string | undefined => (vendor === "intel" ? vtdLine(kernelFaultOf(words), kernel) : amdLine(words, kernel));

export const causeOf = (vendor: "intel" | "amd", words: readonly number[]): Cause => (vendor === "intel" ? causeOfReason(FAULT_RECORD.get.FR(Uint32Array.from(words))) : causeOfEvent(codeOf(words), ((words[1] ?? 0) >>> 16) & 0xfff));

/** The layout that its bits are shown by. */
export const layoutOf = (vendor: "intel" | "amd", words: readonly number[]): AnyLayout | undefined => (vendor === "intel" ? FAULT_RECORD : EVENTS[codeOf(words)]);
