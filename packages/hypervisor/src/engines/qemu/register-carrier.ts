import type { Hpa, MmioHandler } from "@iommu-lab/memory";
import { FunctionConfig } from "@iommu-lab/pci-bus/capabilities";
import type { ProxiedFunction } from "./qemu-process.ts";
import type { ProxyRequest } from "./proxy-wire.ts";

const VENDOR_AND_DEVICE = 0x00;
const COMMAND = 0x04;
const BAR_0 = 0x10;
const MEMORY_SPACE = 2;
const NOBODY = 0xffff_ffffn;

/**
 * A PCI function whose only BAR is a register window: QEMU maps it where firmware puts the BAR, and our tables then name that
 * place. Once firmware has switched its memory on and somebody looks for functions again, that is the operating system: it
 * finds nobody here, so that no driver and no resource allocator touches the window.
 */
export class RegisterCarrier implements ProxiedFunction {
  readonly devfn: number;
  readonly #config: FunctionConfig;
  readonly #handler: () => MmioHandler;
  readonly #words = new Uint32Array(2);
  #hidden = false;

  constructor(devfn: number, size: number, handler: () => MmioHandler) {
    this.devfn = devfn;
    this.#config = new FunctionConfig({ vendor: 0x1af4, device: 0x10f0, classCode: 0x08_8000, header: 0, bars: [{ index: 0, kind: "memory32", size }] });
    this.#handler = handler;
  }

  /** Where the window is; undefined before firmware has placed it. */
  get base(): Hpa | undefined {
    return (this.#config.read(COMMAND, 2) & MEMORY_SPACE) === 0 ? undefined : (this.#config.read(BAR_0, 4) & ~15) >>> 0;
  }

  handle(request: Exclude<ProxyRequest, { readonly kind: "notice" }>): bigint {
    switch (request.kind) {
      case "config-read":
        if (request.offset === VENDOR_AND_DEVICE && this.base !== undefined) this.#hidden = true;
        return this.#hidden ? NOBODY : BigInt(this.#config.read(request.offset, request.size));
      case "config-write":
        if (!this.#hidden) this.#config.write(request.offset, request.size, request.value);
        return 0n;
      case "bar-read":
      case "bar-write":
        return this.#access(request);
      case "reset":
        return 0n;
    }
  }

  #access({ kind, address, size, value }: Extract<ProxyRequest, { readonly address: number }>): bigint {
    const handler = this.#handler();
    const offset = address - (this.base ?? 0);
    if (kind === "bar-read") {
      if (size !== 8) return BigInt(handler.read(offset, size) >>> 0);
      handler.read64(offset, this.#words);
      return BigInt(this.#words[0] as number) | (BigInt(this.#words[1] as number) << 32n); // two words
    }
    const low = Number(value & NOBODY);
    if (size === 8) handler.write64(offset, low, Number(value >> 32n));
    else handler.write(offset, size, low);
    return 0n;
  }
}
