import type { HostFunction } from "@iommu-lab/host";
import type { Language } from "../text/words.ts";
import { className } from "./class-names.ts";

const digits = (value: number | undefined): string => (value === undefined ? "????" : value.toString(16).padStart(4, "0"));

/** "10de:1402": vendor and device. */
export const idsOf = ({ vendor, device }: Pick<HostFunction, "vendor" | "device">): string => `${digits(vendor)}:${digits(device)}`;

/** What a person calls a function: its kind, its printed name where the source has one, its ids. */
export const functionName = (f: HostFunction, language: Language): string => `${className(f.classCode, language)}${f.printed?.name === undefined ? "" : `: ${f.printed.name}`} [${idsOf(f)}]`;
