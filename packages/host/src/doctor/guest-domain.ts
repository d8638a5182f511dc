/** Where a guest sees a function. */
export interface GuestAddress {
  readonly bus: number;
  readonly slot: number;
  readonly function: number;
}

/** A function of the host that a VM gets. */
export interface GuestDevice {
  /** dddd:bb:dd.f */
  readonly host: string;
  readonly guest?: GuestAddress | undefined;
  readonly romFile?: string | undefined;
}

/** A virtual IOMMU. */
export interface GuestIommu {
  /** "intel", "amd", "virtio", "smmuv3". */
  readonly model: string;
  readonly intremap: boolean;
  readonly cachingMode: boolean;
  /** It stands before every PCI device of QEMU's command line; undefined where libvirt puts it in order. */
  readonly first?: boolean | undefined;
}

/** A VM's set-up as far as the rules ask for it; what the source does not say is undefined. */
export interface GuestDomain {
  /** Where it was read from. */
  readonly source: string;
  /** Who starts QEMU: libvirt raises limits by itself. */
  readonly starter: "libvirt" | "qemu";
  readonly memoryBytes: bigint | undefined;
  readonly hugepages: boolean;
  readonly machine: string | undefined;
  readonly firmware: "uefi" | "bios" | undefined;
  /** A memory balloon; libvirt adds one where nothing is said. */
  readonly balloon: boolean;
  readonly kvmHidden: boolean;
  readonly hypervVendorId: boolean;
  /** I/O APIC in QEMU: kernel-irqchip split or off. */
  readonly splitIrqchip: boolean;
  readonly viommu: GuestIommu | undefined;
  readonly devices: readonly GuestDevice[];
  /** Every guest PCI address that is given, of emulated devices too. */
  readonly addresses: readonly GuestAddress[];
  /** Models of the guest's PCI controllers by bus number: "pcie-root-port", "pcie-to-pci-bridge". */
  readonly buses: ReadonlyMap<number, string>;
  /** Nodes of the host that its memory is bound to. */
  readonly nodes: readonly number[];
}
