/** Indices of a PCI device's interrupts. */
export const IrqIndex = { Intx: 0, Msi: 1, Msix: 2, Error: 3, Request: 4 } as const;
/** Interrupts that VFIO_DEVICE_GET_INFO counts. */
export const IRQ_COUNT = 5;
/** VFIO_IRQ_INFO_*. */
export const IrqInfoFlag = { Eventfd: 1, Maskable: 2, Automasked: 4, NoResize: 8 } as const;
/** VFIO_IRQ_SET_*: one of the first three, and one of the last three. */
export const IrqSetFlag = { DataNone: 1, DataBool: 2, DataEventfd: 4, Mask: 8, Unmask: 16, Trigger: 32 } as const;
export const DATA_TYPES = 7;
export const ACTIONS = 56;

/** What an eventfd is to the kernel: something to be signalled. */
export type IrqTarget = () => void;

/** VFIO_DEVICE_GET_IRQ_INFO. */
export interface IrqInfo {
  readonly index: number;
  /** A sum of `IrqInfoFlag`. */
  readonly flags: number;
  /** Vectors. */
  readonly count: number;
}

/** VFIO_DEVICE_SET_IRQS. */
export interface IrqSet {
  /** A sum of `IrqSetFlag`. */
  readonly flags: number;
  readonly index: number;
  readonly start: number;
  readonly count: number;
  /** With DataEventfd: targets, undefined for none (-1); with an Unmask of INTx: registered with `Unmasker` instead. */
  readonly targets?: readonly (IrqTarget | undefined)[];
  /** With DataBool. */
  readonly values?: readonly boolean[];
  /** With DataEventfd and Unmask: called with what unmasks, so that the other side can signal it (resample). Undefined takes it away. */
  readonly unmasker?: ((unmask: () => void) => void) | undefined;
}
