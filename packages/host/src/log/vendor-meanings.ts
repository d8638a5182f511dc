import type { LogMeaning } from "./log-format.ts";

type Meaning = Pick<LogMeaning, "level" | "why" | "advice">;

const DMA: Meaning = { level: "fault", why: "A device used an address that it was not given: its driver unmapped too early, a guest's memory map is wrong, or it is an attack.", advice: "One such line at the end of a VM or at a driver's start is common. Many: look which driver or VM has the function, and whether its firmware keeps using memory (RMRR)." };
const INTERRUPT: Meaning = { level: "fault", why: "A device sent an interrupt that it was not given.", advice: "After a kexec or a change of drivers: harmless once. Else firmware's I/O APIC entries or a device that forges interrupts." };
const NOTE: Meaning = { level: "notice", why: "", advice: "" };
const GOOD: Meaning = { level: "good", why: "", advice: "" };
const CACHE: Meaning = { level: "fault", why: "A device with a translation cache (ATS) does not answer.", advice: "It hangs or lost its link: mostly a failed reset of an assigned GPU. Cut power; pci=noats shows whether the cache is the cause." };
const QUEUE: Meaning = { level: "fault", why: "The driver's command was malformed, or memory is damaged.", advice: "Update the kernel; if it stays, test the memory." };
const FIRMWARE: Meaning = { level: "problem", why: "Firmware describes the hardware wrongly.", advice: "Update firmware." };
const REMAP: Meaning = { level: "problem", why: "Without interrupt remapping VFIO assigns nothing.", advice: "See IRQ-001." };

/** Why the lines of the vendors' drivers come, and what to do: by the name that their decoders give them. */
export const VENDOR_MEANINGS: Readonly<Record<string, Meaning>> = {
  fault: DMA,
  "interrupt fault": INTERRUPT,
  FSTS_REG: { level: "notice", why: "It announces the faults that follow.", advice: "" },
  "invalidation queue error": QUEUE,
  "invalidation time-out error": CACHE,
  "invalidation completion error": CACHE,
  "walk ended": NOTE,
  "table dump": NOTE,
  IO_PAGE_FAULT: DMA,
  ILLEGAL_DEV_TABLE_ENTRY: { level: "fault", why: "The function's device table entry is not valid: the driver's mistake, or damaged memory.", advice: "The lines DTE[0..3] after it hold the entry. Update the kernel." },
  DEV_TAB_HARDWARE_ERROR: { level: "fault", why: "The IOMMU could not read its device table.", advice: "A hardware or memory error: look for machine checks." },
  PAGE_TAB_HARDWARE_ERROR: { level: "fault", why: "The IOMMU could not read a page table.", advice: "A hardware or memory error: look for machine checks." },
  ILLEGAL_COMMAND_ERROR: QUEUE,
  COMMAND_HARDWARE_ERROR: { level: "fault", why: "The IOMMU could not read its commands.", advice: "A hardware or memory error: look for machine checks." },
  IOTLB_INV_TIMEOUT: CACHE,
  INVALID_DEVICE_REQUEST: { level: "fault", why: "A device sent a request of a kind that it may not send.", advice: "Interrupts or translated requests without permission: the function's driver, or an attack." },
  INVALID_PPR_REQUEST: { level: "fault", why: "A device asked for a page where page requests are not on.", advice: "The function's driver set it up wrongly." },
  RMP_HW_ERROR: { level: "fault", why: "The IOMMU could not read the reverse map table (SEV-SNP).", advice: "A hardware or memory error." },
  RMP_PAGE_FAULT: DMA,
  EVENT_COUNTER_ZERO: NOTE,
  "completion-wait-timeout": CACHE,
  "command-buffer-timeout": CACHE,
  "event-log-overflow": { level: "fault", why: "A device makes faults without end.", advice: "Find it in the faults before, and reset or unbind it." },
  "ppr-log-overflow": { level: "fault", why: "A device makes page requests without end.", advice: "Find it, and reset or unbind it." },
  "ga-log-overflow": NOTE,
  "events-suppressed": NOTE,
  "ioapic-not-in-ivrs": { level: "problem", why: "Firmware's IVRS table is incomplete.", advice: "Update firmware, or ivrs_ioapic=ID@SSSS:BB:DD.F: HOST-007." },
  "southbridge-ioapic-missing": { level: "problem", why: "Firmware's IVRS table is incomplete.", advice: "Update firmware, or ivrs_ioapic=ID@SSSS:BB:DD.F: HOST-007." },
  "interrupt-remapping-off": REMAP,
  "interrupt-remapping-failed": REMAP,
  "interrupt-remapping-erratum": { level: "problem", why: "Early steppings of the 5500, 5520 and X58 chipsets.", advice: "See IRQ-004." },
  "ivrs-checksum": FIRMWARE,
  "firmware-drhd-broken": FIRMWARE,
  "firmware-rmrr-broken": FIRMWARE,
  "firmware-rhsa-unknown": FIRMWARE,
  "efr-mismatch": FIRMWARE,
  "extended features differ": FIRMWARE,
  "no-dmar": { level: "problem", why: "Firmware gives the kernel no DMAR table.", advice: "See HOST-001." },
  "option-parsed": { level: "notice", why: "The kernel prints it while it reads the option, whatever the hardware.", advice: "Look for \"Virtualization Technology for Directed I/O\": HOST-005." },
  "option-unknown": { level: "notice", why: "amd_iommu= has no value \"on\".", advice: "Leave it out: HOST-004." },
  "x2apic-opt-out": { level: "notice", why: "Firmware asks for it.", advice: "See IRQ-003." },
  "iommu-on": GOOD,
  "interrupt-remapping": GOOD,
  "interrupt remapping": GOOD,
  "virtual-apic": GOOD,
  x2apic: GOOD,
  "remapping unit": GOOD,
};

/** What is not in the table is told, and needs no action. */
export const OTHER_MEANING: Meaning = NOTE;
