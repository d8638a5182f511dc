import type { MmioHandler } from "@iommu-lab/memory";
import { PAGE_SIZE } from "@iommu-lab/memory";
import { FunctionConfig, type FunctionDescription } from "../config/function-config.ts";
import { HeaderOffset } from "../config/offsets.ts";
import type { DmaOptions, FabricPort, PciFunction, UpstreamPort } from "../function.ts";
import { newTranslation } from "../iommu.ts";
import { Access, AddressType, Completion, NO_PASID, type DeviceTlbInvalidation, type PageResponse } from "../transaction.ts";
import { AddressTranslationCache, type CachedTranslation } from "./address-translation-cache.ts";
import { splitAddress } from "./memory-request.ts";
import { MsiSender } from "./msi.ts";
import { compositeBar, MsixRegion, type BarRegion } from "./msix-region.ts";
import { ScratchBar } from "./scratch-bar.ts";
import { virtualFunctionDescription } from "./virtual-function.ts";
import type { LegacyVga, ModelFunction } from "./fabric.ts";

/** What an endpoint does beside holding its registers. */
export interface EndpointOptions {
  /** By BAR index; where nothing is given for a BAR, a `ScratchBar` answers. */
  readonly bars?: readonly (MmioHandler | undefined)[];
  readonly rom?: MmioHandler;
  readonly legacyVga?: LegacyVga;
  /** Makes virtual function `index`; by default an `Endpoint` with `virtualFunctionDescription`. */
  readonly virtualFunction?: (index: number) => PciFunction;
  /** Takes the place of completing an invalidation at once: call `complete` later, or never. The cache is already clean. */
  readonly invalidated?: (invalidation: DeviceTlbInvalidation, complete: () => void) => void;
  readonly pageResponse?: (response: PageResponse) => void;
  readonly reset?: (kind: "function" | "bus" | "cold") => void;
}

const NOT_CONNECTED = "This endpoint is plugged in nowhere; use Bus.plug first.";

/** A scripted function: configuration space from a description, BARs, DMA, interrupts, and an address translation cache when it has ATS. */
export class Endpoint implements ModelFunction {
  readonly description: FunctionDescription;
  readonly config: FunctionConfig;
  readonly bars: readonly (MmioHandler | undefined)[];
  readonly rom: MmioHandler | undefined;
  readonly legacyVga: LegacyVga | undefined;
  readonly fabric: FabricPort;
  /** Undefined without an ATS capability. */
  readonly atc: AddressTranslationCache | undefined;
  /** Undefined without an MSI-X capability. */
  readonly msix: MsixRegion | undefined;
  /** Undefined without an MSI capability. */
  readonly msi: MsiSender | undefined;
  readonly #options: EndpointOptions;
  readonly #translation = newTranslation();
  #port: UpstreamPort | undefined;

  /** @throws RangeError when the description is impossible */
  constructor(description: FunctionDescription, options: EndpointOptions = {}) {
    this.description = description;
    this.config = new FunctionConfig(description);
    this.#options = options;
    this.rom = options.rom;
    this.legacyVga = options.legacyVga;
    const port = (): UpstreamPort | undefined => this.#port;
    const msi = this.config.capability(0x05);
    const msix = this.config.capability(0x11);
    this.msi = msi ? new MsiSender(this.config, msi, port) : undefined;
    this.msix = msix ? new MsixRegion(this.config, msix, port) : undefined;
    this.atc = this.config.extendedCapability(0x0f) ? new AddressTranslationCache() : undefined;
    this.bars = this.#makeBars(msix);
    this.fabric = this.#makeFabric();
    this.config.onWrite(() => {
      if (!this.#atsEnabled) this.atc?.clear();
      this.msi?.flush();
      this.msix?.flush();
    });
  }

  /** The way out. @throws Error while the endpoint is plugged in nowhere */
  get port(): UpstreamPort {
    if (!this.#port) throw new Error(NOT_CONNECTED);
    return this.#port;
  }

  connect(port: UpstreamPort): void {
    this.#port = port;
  }

  /** Makes a virtual function when VF Enable asks for it. PCIe §9.3.4. */
  virtualFunction(index: number): PciFunction {
    return this.#options.virtualFunction?.(index) ?? virtualEndpoint(this.description);
  }

  /** DMA read as the function's engine does it: through the address translation cache while ATS is enabled. */
  read(address: number | bigint, into: Uint8Array, options: DmaOptions = {}): Completion {
    return this.#move(false, address, into, options);
  }

  /** DMA write, likewise. */
  write(address: number | bigint, from: Uint8Array, options: DmaOptions = {}): Completion {
    return this.#move(true, address, from, options);
  }

  /** Raises interrupt `vector` the way software chose: MSI-X, else MSI, else asserts the INTx pin, which stays until `lower`. */
  raise(vector = 0): void {
    if (this.msix?.enabled) this.msix.raise(vector);
    else if (this.msi?.enabled) this.msi.raise(vector);
    else this.#drivePin(true);
  }

  /** Takes the INTx pin back. */
  lower(): void {
    this.#drivePin(false);
  }

  #drivePin(asserted: boolean): void {
    const pin = this.config.read(HeaderOffset.InterruptPin, 1);
    if (pin >= 1 && pin <= 4) this.port.interruptPin((pin - 1) as 0 | 1 | 2 | 3, asserted);
  }

  get #atsEnabled(): boolean {
    const at = this.config.extendedCapability(0x0f);
    return at !== 0 && (this.config.read(at + 6, 2) & 0x8000) !== 0;
  }

  #move(write: boolean, address: number | bigint, bytes: Uint8Array, options: DmaOptions): Completion {
    const { port } = this;
    if (!this.#atsEnabled || !this.atc) return write ? port.dmaWrite(address, bytes, options) : port.dmaRead(address, bytes, options);
    let { page, offset } = splitAddress(address);
    for (let done = 0; done < bytes.length; page++, offset = 0) {
      const part = bytes.subarray(done, Math.min(bytes.length, done + PAGE_SIZE - offset));
      const found = this.#translate(page, write, options);
      if (!found) return Completion.UnsupportedRequest;
      const translated = { ...options, addressType: AddressType.Translated };
      const hpa = (found.hostPage + (page - found.page)) * PAGE_SIZE + offset;
      const completion = write ? port.dmaWrite(hpa, part, translated) : port.dmaRead(hpa, part, translated);
      if (completion !== Completion.Successful) return completion;
      done += part.length;
    }
    return Completion.Successful;
  }

  #translate(page: number, write: boolean, options: DmaOptions): CachedTranslation | undefined {
    const pasid = options.pasid ?? NO_PASID;
    const access = write ? Access.Write : Access.Read;
    const cached = this.atc?.find(pasid, page, access);
    if (cached) return cached;
    const out = this.#translation;
    const address = page < 2 ** 40 ? page * PAGE_SIZE : BigInt(page) << 12n;
    if (this.port.translate(address, Access.Read | access, out, options) !== Completion.Successful) return undefined;
    if ((out.permissions & access) !== access) return undefined;
    return this.atc?.insert(pasid, page, out);
  }

  #makeBars(msix: number): (MmioHandler | undefined)[] {
    const bars: (MmioHandler | undefined)[] = [];
    const indexes = [...(this.description.bars ?? []).map(({ index }) => index)];
    for (const index of indexes) bars[index] = this.#options.bars?.[index] ?? new ScratchBar();
    // Virtual functions have no BARs of their own in their headers: what is given answers at the addresses of the VF BARs.
    for (const [index, bar] of (this.#options.bars ?? []).entries()) bars[index] ??= bar;
    if (!this.msix) return bars;
    const regions = new Map<number, BarRegion[]>();
    const place = (register: number, size: number, handler: MmioHandler): void => {
      const value = this.config.read(register, 4);
      const index = value & 7;
      regions.set(index, [...(regions.get(index) ?? []), { base: (value & ~7) >>> 0, size, handler }]);
    };
    place(msix + 4, 16 * this.msix.vectors, this.msix.table);
    place(msix + 8, 8 * Math.ceil(this.msix.vectors / 64), this.msix.pending);
    for (const [index, list] of regions) bars[index] = compositeBar(list, bars[index]);
    return bars;
  }

  #makeFabric(): FabricPort {
    return {
      invalidate: (invalidation, complete) => {
        this.atc?.invalidate(invalidation);
        if (this.#options.invalidated) this.#options.invalidated(invalidation, complete);
        else complete();
      },
      pageResponse: (response) => {
        this.#options.pageResponse?.(response);
      },
      reset: (kind) => {
        this.config.reset(kind);
        this.atc?.clear();
        this.msix?.reset();
        this.#options.reset?.(kind);
      },
    };
  }
}

const SRIOV_VF_BARS = 0x24;

/** An ordinary virtual function: a `ScratchBar` behind each VF BAR. */
const virtualEndpoint = (physical: FunctionDescription): Endpoint => {
  const sriov = physical.capabilities?.find(({ id, extended }) => extended && id === 0x10);
  const bars = Array.from({ length: 6 }, (_, index) => {
    const writable = sriov?.writable.subarray(SRIOV_VF_BARS + 4 * index, SRIOV_VF_BARS + 4 * index + 4);
    return writable?.some((mask) => mask !== 0) ? new ScratchBar() : undefined;
  });
  const made = new Endpoint(virtualFunctionDescription(physical), { bars });
  // PCIe §9.3.4.1.3: I/O and Memory Space Enable of a virtual function are hardwired to zero.
  made.config.onWrite(() => {
    made.config.bytes[HeaderOffset.Command] = (made.config.bytes[HeaderOffset.Command] as number) & ~3;
  });
  return made;
};
