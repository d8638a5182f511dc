/** Values of the Device/Port Type field. PCIe §7.5.3.2, table 7-19. */
export const PcieType = {
  Endpoint: 0,
  LegacyEndpoint: 1,
  RootPort: 4,
  UpstreamPort: 5,
  DownstreamPort: 6,
  /** From PCI Express above to conventional PCI below. */
  PcieToPciBridge: 7,
  /** From conventional PCI above to PCI Express below. */
  PciToPcieBridge: 8,
  RootComplexIntegratedEndpoint: 9,
  RootComplexEventCollector: 10,
} as const;
export type PcieType = (typeof PcieType)[keyof typeof PcieType];
