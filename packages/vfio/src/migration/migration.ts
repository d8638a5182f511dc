import { VfioError } from "../vfio-error.ts";
import { isSupported, migrationPath, MigrationState, type MigrationFeatures } from "./migration-states.ts";

/** What a device's variant driver does for migration. */
export interface MigrationBackend extends MigrationFeatures {
  /** One step. @returns false when the device failed: it is in ERROR then, until it is reset */
  step(from: MigrationState, to: MigrationState): boolean;
  /** The device's state; asked for in STOP_COPY, and in PRE_COPY for what is there already. */
  save(): Uint8Array;
  /** Takes a state in RESUMING. @returns false when it is not this device's */
  load(data: Uint8Array): boolean;
}

/** Migration of one device. Linux include/uapi/linux/vfio.h, VFIO_DEVICE_FEATURE_MIG_DEVICE_STATE. */
export class Migration {
  readonly #backend: MigrationBackend;
  #state: MigrationState = MigrationState.Running;
  #incoming: number[] = [];

  constructor(backend: MigrationBackend) {
    this.#backend = backend;
  }

  /** What GET says. */
  get state(): MigrationState {
    return this.#state;
  }

  /** What VFIO_DEVICE_FEATURE_MIGRATION says: STOP_COPY always, and these. */
  get features(): MigrationFeatures {
    const { peerToPeer, preCopy } = this.#backend;
    return { peerToPeer, preCopy };
  }

  /**
   * SET: goes step by step. A step that fails leaves the device where it came to, or in ERROR.
   * @throws VfioError EINVAL where there is no way, EIO when the device failed
   */
  setState(to: MigrationState): void {
    const path = migrationPath(this.#state, to, this.#backend);
    if (!path) throw new VfioError("EINVAL", `The device cannot go from state ${this.#state} to ${to}${isSupported(to, this.#backend) ? "" : ", which it does not have"}.`);
    for (const next of path) this.#step(next);
  }

  /** Reads the device's state from the data file. @throws VfioError ENODEV outside STOP_COPY and pre-copy: the file is dead then, as the drivers of Linux have it */
  read(): Uint8Array {
    const { StopCopy, PreCopy, PreCopyP2P } = MigrationState;
    if (![StopCopy, PreCopy, PreCopyP2P].some((state) => state === this.#state)) throw new VfioError("ENODEV", "There is data to read in STOP_COPY and while pre-copying only.");
    return this.#backend.save();
  }

  /** Writes a part of a state to the data file. @throws VfioError ENODEV outside RESUMING */
  write(data: Uint8Array): void {
    if (this.#state !== MigrationState.Resuming) throw new VfioError("ENODEV", "A state is taken in RESUMING only.");
    for (const byte of data) this.#incoming.push(byte);
  }

  /** The device was reset: it runs. */
  reset(): void {
    this.#state = MigrationState.Running;
    this.#incoming = [];
  }

  #step(next: MigrationState): void {
    const from = this.#state;
    const leavesResuming = from === MigrationState.Resuming;
    const done = (!leavesResuming || this.#backend.load(Uint8Array.from(this.#incoming))) && this.#backend.step(from, next);
    if (next === MigrationState.Resuming || leavesResuming) this.#incoming = [];
    this.#state = done ? next : MigrationState.Error;
    if (!done) throw new VfioError("EIO", `The device failed on its way from state ${from} to ${next}; it is in ERROR until it is reset.`);
  }
}
