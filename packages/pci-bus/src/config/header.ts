import { bit, bits, layout } from "@iommu-lab/memory/layout";

/** Command register, offset 0x04. PCIe §7.5.1.1.3. */
export const COMMAND = layout("Command", 16, "PCIe §7.5.1.1.3", {
  IOSpace: bit(0, "Decodes I/O accesses"),
  MemorySpace: bit(1, "Decodes memory accesses"),
  BusMaster: bit(2, "May issue memory and I/O requests; for a bridge: forwards those from below"),
  SpecialCycle: bit(3, "Watches special cycles; zero in PCIe"),
  MemoryWriteInvalidate: bit(4, "Uses memory write and invalidate; zero in PCIe"),
  VGAPaletteSnoop: bit(5, "Snoops writes of the VGA palette; zero in PCIe"),
  ParityErrorResponse: bit(6, "Logs poisoned transactions in the status register"),
  AddressStepping: bit(7, "Address and data stepping; zero in PCIe"),
  SERREnable: bit(8, "Reports errors to the root complex"),
  FastBackToBack: bit(9, "Fast back-to-back transactions; zero in PCIe"),
  InterruptDisable: bit(10, "Must not assert INTx"),
});

const DEVSEL = { 0: "fast", 1: "medium", 2: "slow", 3: "reserved" } as const;

/** Status register, offset 0x06. PCIe §7.5.1.1.4. */
export const STATUS = layout("Status", 16, "PCIe §7.5.1.1.4", {
  ImmediateReadiness: bit(0, "Ready for configuration requests at once after a reset"),
  InterruptStatus: bit(3, "An INTx interrupt is pending inside the function"),
  CapabilitiesList: bit(4, "The capabilities pointer is valid"),
  Capable66MHz: bit(5, "Runs at 66 MHz; zero in PCIe"),
  UserDefinableFeatures: bit(6, "User definable features; zero since PCI 2.2"),
  FastBackToBackCapable: bit(7, "Takes fast back-to-back transactions; zero in PCIe"),
  MasterDataParityError: bit(8, "Sent or received a poisoned request or completion while ParityErrorResponse was set"),
  DEVSELTiming: bits(10, 9, "Speed of DEVSEL#; zero in PCIe", DEVSEL),
  SignaledTargetAbort: bit(11, "Completed a request with Completer Abort"),
  ReceivedTargetAbort: bit(12, "Received a completion with Completer Abort"),
  ReceivedMasterAbort: bit(13, "Received a completion with Unsupported Request"),
  SignaledSystemError: bit(14, "Sent ERR_FATAL or ERR_NONFATAL while SERREnable was set"),
  DetectedParityError: bit(15, "Received a poisoned transaction"),
});

/** Secondary status register of a bridge, offset 0x1e. PCIe §7.5.1.3.7. */
export const SECONDARY_STATUS = layout("Secondary Status", 16, "PCIe §7.5.1.3.7", {
  Capable66MHz: bit(5, "The secondary bus runs at 66 MHz; zero in PCIe"),
  FastBackToBackCapable: bit(7, "The secondary side takes fast back-to-back transactions; zero in PCIe"),
  MasterDataParityError: bit(8, "Sent or received a poisoned request or completion on the secondary side"),
  DEVSELTiming: bits(10, 9, "Speed of DEVSEL# on the secondary bus; zero in PCIe", DEVSEL),
  SignaledTargetAbort: bit(11, "Completed a request on the secondary side with Completer Abort"),
  ReceivedTargetAbort: bit(12, "Received a completion with Completer Abort on the secondary side"),
  ReceivedMasterAbort: bit(13, "Received a completion with Unsupported Request on the secondary side"),
  ReceivedSystemError: bit(14, "Received ERR_FATAL or ERR_NONFATAL on the secondary side"),
  DetectedParityError: bit(15, "Received a poisoned transaction on the secondary side"),
});

/** Header type register, offset 0x0e. PCIe §7.5.1.1.9. */
export const HEADER_TYPE = layout("Header Type", 8, "PCIe §7.5.1.1.9", {
  Layout: bits(6, 0, "Which header follows from offset 0x10 on", { 0: "Type 0", 1: "Type 1 (bridge)", 2: "Type 2 (CardBus bridge)" }),
  MultiFunction: bit(7, "The device may have further functions"),
});

/** Bridge control register, offset 0x3e. PCIe §7.5.1.3.13; bits 8 to 11 are of PCI bridges (PCI-to-PCI Bridge Architecture §3.2.5.18). */
export const BRIDGE_CONTROL = layout("Bridge Control", 16, "PCIe §7.5.1.3.13", {
  ParityErrorResponse: bit(0, "Logs poisoned transactions of the secondary side"),
  SERREnable: bit(1, "Forwards error messages from below"),
  ISAEnable: bit(2, "Forwards only the first 256 bytes of each 1 KiB of the I/O window"),
  VGAEnable: bit(3, "Forwards the VGA ranges 0xa0000 to 0xbffff, 0x3b0 to 0x3bb and 0x3c0 to 0x3df downstream"),
  VGA16BitDecode: bit(4, "Decodes VGA I/O with all 16 address bits instead of 10"),
  MasterAbortMode: bit(5, "Reports master aborts; zero in PCIe"),
  SecondaryBusReset: bit(6, "Holds the bus below in reset"),
  FastBackToBack: bit(7, "Fast back-to-back transactions below; zero in PCIe"),
  PrimaryDiscardTimer: bit(8, "Primary discard timer counts 2^10 clocks instead of 2^15; zero in PCIe"),
  SecondaryDiscardTimer: bit(9, "Secondary discard timer counts 2^10 clocks instead of 2^15; zero in PCIe"),
  DiscardTimerStatus: bit(10, "A delayed completion was discarded; zero in PCIe"),
  DiscardTimerSERREnable: bit(11, "Discarding raises SERR#; zero in PCIe"),
});

/** Built-in self test register, offset 0x0f. PCIe §7.5.1.1.10. */
export const BIST = layout("BIST", 8, "PCIe §7.5.1.1.10", {
  CompletionCode: bits(3, 0, "Result of the last test, zero when it passed"),
  StartBIST: bit(6, "Starts the test; zero when it is done"),
  BISTCapable: bit(7, "The function has a self test"),
});

/** A base address register that maps memory (its low half when it is 64 bits wide). PCIe §7.5.1.2.1. */
export const MEMORY_BAR = layout("Memory Base Address Register", 32, "PCIe §7.5.1.2.1", {
  IOSpace: bit(0, "Zero: maps memory"),
  Type: bits(2, 1, "Address width", { 0: "32-bit", 1: "below 1 MiB", 2: "64-bit", 3: "reserved" }),
  Prefetchable: bit(3, "Reads have no side effects"),
  Address: bits(31, 4, "Address bits 31:4"),
});

/** A base address register that maps I/O. PCIe §7.5.1.2.1. */
export const IO_BAR = layout("I/O Base Address Register", 32, "PCIe §7.5.1.2.1", {
  IOSpace: bit(0, "One: maps I/O"),
  Address: bits(31, 2, "Address bits 31:2"),
});

/** Expansion ROM base address register, offset 0x30 (type 0) or 0x38 (type 1). PCIe §7.5.1.2.4. */
export const ROM_BAR = layout("Expansion ROM Base Address Register", 32, "PCIe §7.5.1.2.4", {
  Enable: bit(0, "Decodes the ROM's range"),
  ValidationStatus: bits(3, 1, "What checking the ROM came to", { 0: "not supported", 1: "in progress", 2: "pass, valid contents", 3: "pass, valid and trusted", 4: "fail, invalid contents", 5: "fail, valid but untrusted", 6: "warning pass, validity not checked", 7: "warning pass, trust not checked" }),
  ValidationDetails: bits(7, 4, "Vendor-specific details of the check"),
  Address: bits(31, 11, "Address bits 31:11"),
});
