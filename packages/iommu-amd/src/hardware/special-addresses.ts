/** What becomes of a request to a HyperTransport special address. */
export const SpecialAddress = {
  /** Translated like any other. */
  Ordinary: 0,
  /** Passes as it is. */
  Untranslated: 1,
  /** Aborted, with the INVALID_DEVICE_REQUEST type in the bits above. */
  Refused: 2,
  /** The entry's IoCtl is reserved: ILLEGAL_DEV_TABLE_ENTRY. */
  Illegal: 3,
} as const;

/** INVALID_DEVICE_REQUEST types. AMD-Vi §2.5.9. */
export const RequestType = { InterruptRange: 0, Pretranslated: 1, PortIo: 2, SystemManagement: 3, InterruptOrEoi: 4, ReservedInterrupt: 5, SystemManagementAddress: 6 } as const;
/** The same of translation requests. */
export const TranslationType = { InvalidAddress: 0, NotAllowed: 1 } as const;

/** Shift of the type in what `specialAddress` returns. */
export const TYPE_SHIFT = 4;
const refused = (type: number): number => SpecialAddress.Refused | (type << TYPE_SHIFT);

/** Page numbers where ranges begin. HyperTransport §5.1 "Address Map". */
const INTERRUPT_EOI = 0xfdf_8000;
const SYSTEM_MANAGEMENT = 0xfdf_9100;
const AFTER_SYSTEM_MANAGEMENT = 0xfdf_9200;
const PORT_IO = 0xfdf_c000;
const CONFIGURATION = 0xfdf_e000;

/** Whether a page is from FD_0000_0000h to FF_FFFF_FFFFh. */
export const isHyperTransportRange = (low: number, high: number): boolean => high === 0 && ((low >>> 20) - 0xfd) >>> 0 < 3;

/**
 * Judges a request to the HyperTransport ranges. AMD-Vi §2.1.2 "Special Address Ranges".
 * Model: INTx messages never come as memory requests here, so that SysMgt = 2 refuses all; ranges that are no DMA target count as reserved;
 * IoCtl = 3 makes an entry illegal for port I/O only.
 * @param low page number, from FD0_0000h on
 * @returns a `SpecialAddress`, with a type when refused
 */
export const specialAddress = (low: number, portIo: number, systemManagement: number, write: boolean): number => {
  if (low < INTERRUPT_EOI) return refused(RequestType.ReservedInterrupt);
  if (low < SYSTEM_MANAGEMENT) return refused(RequestType.InterruptOrEoi);
  if (low < AFTER_SYSTEM_MANAGEMENT) {
    if (systemManagement === 3) return SpecialAddress.Ordinary;
    if (!write) return refused(RequestType.SystemManagementAddress);
    return systemManagement === 1 ? SpecialAddress.Untranslated : refused(RequestType.SystemManagement);
  }
  if (low >= PORT_IO && low < CONFIGURATION) return portIo === 2 ? SpecialAddress.Ordinary : portIo === 1 ? SpecialAddress.Untranslated : portIo === 3 ? SpecialAddress.Illegal : refused(RequestType.PortIo);
  return refused(RequestType.ReservedInterrupt);
};
