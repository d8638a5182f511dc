import type { VgaArbiterError } from "../legacy/error.ts";
import type { VgaResources } from "../legacy/resources.ts";
import type { VgaDevice } from "./device.ts";

/** How a request for resources stands. */
export type RequestStatus = "waiting" | "granted" | "failed" | "cancelled";

/** Somebody's wish to hold a device's resources, which may have to wait until others release theirs. Linux vga_get(). */
export interface VgaRequest {
  readonly device: VgaDevice;
  readonly resources: VgaResources;
  readonly status: RequestStatus;
  /** Why it failed: EIO (a bridge does not pass the ranges down) or ENODEV (the device was removed). */
  readonly error: VgaArbiterError | undefined;
  /** Stops waiting, as a signal does; of a request that does not wait nothing changes. */
  cancel(): void;
}

/** The request as the arbiter keeps it. */
export class WaitingRequest implements VgaRequest {
  readonly device: VgaDevice;
  readonly resources: VgaResources;
  readonly #settled: ((request: VgaRequest) => void) | undefined;
  #status: RequestStatus = "waiting";
  #error: VgaArbiterError | undefined;

  constructor(device: VgaDevice, resources: VgaResources, settled: ((request: VgaRequest) => void) | undefined) {
    this.device = device;
    this.resources = resources;
    this.#settled = settled;
  }

  get status(): RequestStatus {
    return this.#status;
  }

  get error(): VgaArbiterError | undefined {
    return this.#error;
  }

  cancel(): void {
    if (this.#status === "waiting") this.#status = "cancelled";
  }

  /** Ends the waiting and tells whoever asked to be told. */
  settle(status: "granted" | "failed", error?: VgaArbiterError): void {
    this.#status = status;
    this.#error = error;
    this.#settled?.(this);
  }
}
