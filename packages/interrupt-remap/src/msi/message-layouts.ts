import { bit, bits, layout } from "@iommu-lab/memory/layout";

/** Address of an MSI in compatibility format, the low 32 bits. Intel SDM vol. 3 "Message Address Register Format"; VT-d §5.1.2.1. */
export const MESSAGE_ADDRESS = layout("MSI address, compatibility format", 32, "Intel SDM vol. 3 §11.11.1", {
  DM: bit(2, "Destination mode", { 0: "physical", 1: "logical" }),
  RH: bit(3, "Redirection hint: one processor of the destination set may take it"),
  Format: bit(4, "Interrupt format", { 0: "compatibility", 1: "remappable" }),
  Destination: bits(19, 12, "Destination APIC ID, or a mask of processors in logical mode"),
  Base: bits(31, 20, "FEEh"),
});

/** Data of an MSI in compatibility format. Intel SDM vol. 3 "Message Data Register Format". */
export const MESSAGE_DATA = layout("MSI data, compatibility format", 32, "Intel SDM vol. 3 §11.11.2", {
  Vector: bits(7, 0, "Interrupt vector"),
  DeliveryMode: bits(10, 8, "Delivery mode", { 0: "fixed", 1: "lowest priority", 2: "SMI", 4: "NMI", 5: "INIT", 7: "ExtINT" }),
  Level: bit(14, "Level: asserted; means something for level-triggered messages only"),
  Trigger: bit(15, "Trigger mode", { 0: "edge", 1: "level" }),
});
