import type { FunctionAddress } from "@iommu-lab/pci-bus";

/** What a VGA device decodes or owns, as a bit set. Linux include/linux/vgaarb.h. */
export const VgaResource = { None: 0, LegacyIo: 1, LegacyMemory: 2, NormalIo: 4, NormalMemory: 8 } as const;
/** A sum of `VgaResource` bits. */
export type VgaResources = number;

/** A device that may answer to the legacy VGA ranges: I/O 3b0-3bb and 3c0-3df, memory a0000-bffff. */
export interface VgaClient {
  readonly address: FunctionAddress;
  /** Asked to stop (or resume) decoding the legacy ranges; returns what it still decodes. */
  setDecode(legacy: boolean): VgaResources;
}

/** Hands the legacy VGA ranges of a machine to one device at a time. */
export interface VgaArbiter {
  /** Clients in the order they were added. */
  readonly clients: readonly VgaClient[];
  /** The device that showed the firmware's screen, if any. */
  readonly bootDevice: VgaClient | undefined;
  /** Locks resources for a client. @throws VgaArbiterError EBUSY while another holds a lock on them */
  tryLock(client: VgaClient, resources: VgaResources): void;
  unlock(client: VgaClient, resources: VgaResources): void;
}

/** A refusal as /dev/vga_arbiter gives it. */
export class VgaArbiterError extends Error {
  override readonly name = "VgaArbiterError";
  readonly code: "EBUSY" | "EINVAL" | "EIO" | "ENODEV" | "ENOMEM" | "EPROTO";
  constructor(code: VgaArbiterError["code"], message: string) {
    super(message);
    this.code = code;
  }
}
