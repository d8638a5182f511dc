/** Offsets of the configuration header in bytes. PCIe §7.5.1 "PCI-Compatible Configuration Registers". */
export const HeaderOffset = {
  Vendor: 0x00,
  Device: 0x02,
  Command: 0x04,
  Status: 0x06,
  Revision: 0x08,
  ClassCode: 0x09,
  CacheLineSize: 0x0c,
  LatencyTimer: 0x0d,
  HeaderType: 0x0e,
  Bist: 0x0f,
  Bar0: 0x10,
  PrimaryBus: 0x18,
  SecondaryBus: 0x19,
  SubordinateBus: 0x1a,
  SecondaryLatencyTimer: 0x1b,
  IoBase: 0x1c,
  IoLimit: 0x1d,
  SecondaryStatus: 0x1e,
  MemoryBase: 0x20,
  MemoryLimit: 0x22,
  PrefetchableBase: 0x24,
  PrefetchableLimit: 0x26,
  PrefetchableBaseUpper: 0x28,
  CardBusCis: 0x28,
  PrefetchableLimitUpper: 0x2c,
  SubsystemVendor: 0x2c,
  SubsystemDevice: 0x2e,
  Rom: 0x30,
  IoBaseUpper: 0x30,
  IoLimitUpper: 0x32,
  CapabilitiesPointer: 0x34,
  BridgeRom: 0x38,
  InterruptLine: 0x3c,
  InterruptPin: 0x3d,
  MinGrant: 0x3e,
  BridgeControl: 0x3e,
  MaxLatency: 0x3f,
} as const;

/** Where a CardBus bridge (header type 2) keeps its capabilities pointer. */
export const CARDBUS_CAPABILITIES_POINTER = 0x14;
/** First byte that a capability may take. */
export const FIRST_CAPABILITY = 0x40;
/** First extended capability. PCIe §7.6.1 "Extended Capabilities in Configuration Space". */
export const FIRST_EXTENDED = 0x100;
/** Bytes of conventional configuration space. */
export const CONVENTIONAL_SIZE = 0x100;
/** Bytes of PCI Express configuration space. */
export const EXPRESS_SIZE = 0x1000;
