import { AMD, AMD_AS_IT_IS } from "./amd.ts";
import { AMD_LAYOUTS, AMD_LAYOUTS_AS_IT_IS } from "./amd-layouts.ts";
import { DOCTOR, DOCTOR_AS_IT_IS } from "./doctor.ts";
import { HOST, HOST_AS_IT_IS } from "./host.ts";
import { INTERRUPTS } from "./interrupts.ts";
import { LOG, LOG_AS_IT_IS } from "./log.ts";
import { PCI, PCI_AS_IT_IS } from "./pci.ts";
import type { Phrases } from "./phrases.ts";
import { HOPS, SHORT } from "./short.ts";
import { TABLES } from "./tables.ts";
import { VTD_LAYOUTS } from "./vtd-layouts.ts";
import { VTD } from "./vtd.ts";

/** Everything the packages say that the page shows. */
export const PHRASES: Phrases = { ...SHORT, ...HOPS, ...TABLES, ...PCI, ...AMD_LAYOUTS, ...AMD, ...VTD_LAYOUTS, ...VTD, ...INTERRUPTS, ...LOG, ...HOST, ...DOCTOR };

/** Names, kernel lines and options, which no language translates. */
export const AS_THEY_ARE: readonly string[] = [...PCI_AS_IT_IS, ...AMD_LAYOUTS_AS_IT_IS, ...AMD_AS_IT_IS, ...LOG_AS_IT_IS, ...HOST_AS_IT_IS, ...DOCTOR_AS_IT_IS];
