import type { AccessSize } from "@iommu-lab/memory";
import type { ConfigSpace, PciFunction } from "@iommu-lab/pci-bus";
import { FunctionConfig, hypertransportMsiMapping, msi, secureDevice } from "@iommu-lab/pci-bus/capabilities";
import type { AmdCapabilities } from "./capabilities.ts";

/** Class 08h, subclass 06h: IOMMU. */
const CLASS_CODE = 0x08_0600;
const VENDOR = 0x1022;
/** Where its capabilities are. */
export const CAPABILITY = 0x40;
export const MSI_MAPPING = 0x58;
export const MSI = 0x60;
const BASE_LOW = CAPABILITY + 0x04;
const BASE_HIGH = CAPABILITY + 0x08;
const STATUS_HIGH_BYTE = 0x07;
const SIGNALED_TARGET_ABORT = 1 << 3;
const BASE_LOW_MASK = 0xffff_c000;
/** With performance counters the window is 512 KiB. */
const COUNTER_BASE_LOW_MASK = 0xfff8_0000;

/** Identity and place of the function. */
export interface IommuFunctionOptions {
  /** 16 bits. */
  readonly device: number;
  /** Where firmware put the register window; locked. */
  readonly registerBase: number;
}

/** Configuration space whose base registers are locked by Enable. AMD-Vi §3.2.2. */
class LockedConfig implements ConfigSpace {
  readonly #inner: FunctionConfig;

  constructor(inner: FunctionConfig) {
    this.#inner = inner;
  }

  get size(): number {
    return this.#inner.size;
  }

  read(offset: number, size: AccessSize): number {
    return this.#inner.read(offset, size);
  }

  write(offset: number, size: AccessSize, value: number): void {
    const locked = offset >= BASE_LOW && offset < BASE_HIGH + 4 && (this.#inner.read(BASE_LOW, 1) & 1) === 1;
    if (!locked) this.#inner.write(offset, size, value);
  }
}

/** The PCI function of an IOMMU, with its capability block, MSI and the HyperTransport MSI mapping. AMD-Vi §3.1, §3.2. */
export class IommuFunction implements PciFunction {
  readonly config: ConfigSpace;
  readonly bars = [];
  readonly #config: FunctionConfig;
  readonly #extraMask: number;

  constructor({ efr, iotlbSup, npCache, physicalAddressWidth, messageNumbers }: AmdCapabilities, { device, registerBase }: IommuFunctionOptions) {
    const vectors = 2 ** Math.ceil(Math.log2(Math.max(...Object.values(messageNumbers)) + 1));
    this.#extraMask = efr.PCSup ? COUNTER_BASE_LOW_MASK : BASE_LOW_MASK;
    this.#config = new FunctionConfig({
      vendor: VENDOR,
      device,
      classCode: CLASS_CODE,
      header: 0,
      capabilities: [
        secureDevice(
          {
            Header: { CapRev: 1, IotlbSup: Number(iotlbSup), NpCache: Number(npCache), EFRSup: 1 },
            BaseLow: { Enable: 1, BaseAddress: Math.floor(registerBase % 2 ** 32 / 2 ** 14) },
            BaseHigh: { BaseAddress: Math.floor(registerBase / 2 ** 32) },
            Misc0: { MsiNum: messageNumbers.general, MsiNumPPR: messageNumbers.ppr, GVAsize: efr.GATS === 1 ? 3 : 2, PAsize: physicalAddressWidth, VAsize: 64 },
            Misc1: { MsiNumGA: messageNumbers.ga },
          },
          { at: CAPABILITY },
        ),
        msi({ vectors }, { at: MSI }),
        hypertransportMsiMapping({ enable: true }, { at: MSI_MAPPING }),
      ],
    });
    this.config = new LockedConfig(this.#config);
  }

  connect(): void {
    // Its own messages leave through the IOMMU's `sendMessage`, past the remapping of other functions' requests.
  }

  /** What its MSI capability says. */
  get message(): { readonly enabled: boolean; readonly multiple: number; readonly address: number; readonly upper: number; readonly data: number } {
    const control = this.#config.read(MSI + 2, 2);
    return { enabled: (control & 1) === 1, multiple: (control >>> 4) & 7, address: this.#config.read(MSI + 4, 4), upper: this.#config.read(MSI + 8, 4), data: this.#config.read(MSI + 12, 2) };
  }

  /** Where its registers answer: an address, bits 31:0 and 63:32, or nowhere before Enable is set. */
  get registerBase(): number | undefined {
    const low = this.#config.read(BASE_LOW, 4);
    return (low & 1) === 0 ? undefined : ((low & this.#extraMask) >>> 0) + this.#config.read(BASE_HIGH, 4) * 2 ** 32;
  }

  /** It aborted a request. */
  signalTargetAbort(): void {
    this.#config.bytes[STATUS_HIGH_BYTE] = (this.#config.bytes[STATUS_HIGH_BYTE] as number) | SIGNALED_TARGET_ABORT; // a header has 64 bytes
  }

  reset(kind: "cold" | "warm"): void {
    this.#config.reset(kind === "cold" ? "cold" : "bus");
  }
}
