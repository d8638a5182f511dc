/** A VM's set-up as far as the rules ask for it; what the source does not say is undefined. */
export interface GuestDomain {
  /** Where it was read from. */
  readonly source: string;
  readonly memoryBytes?: bigint | undefined;
  readonly hugepages: boolean;
  readonly machine?: string | undefined;
  readonly firmware: "uefi" | "bios" | undefined;
  readonly balloon: boolean;
  readonly kvmHidden: boolean;
  readonly hypervVendorId: boolean;
  /** `<ioapic driver=…>`; QEMU's kernel-irqchip. */
  readonly splitIrqchip: boolean;
  readonly viommu?: { readonly model: string; readonly intremap: boolean; readonly cachingMode: boolean; readonly first: boolean } | undefined;
  readonly devices: readonly GuestDevice[];
  readonly nodes: readonly number[];
  /** One space per function behind a virtual IOMMU. */
  readonly conventionalBuses: ReadonlySet<number>;
}

/** A function of the host that a VM gets. */
export interface GuestDevice {
  /** dddd:bb:dd.f */
  readonly host: string;
  /** Where the guest sees it. */
  readonly guest?: { readonly bus: number; readonly slot: number; readonly function: number } | undefined;
  readonly romFile?: string | undefined;
}
