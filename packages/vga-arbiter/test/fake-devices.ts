import type { AccessSize } from "@iommu-lab/memory";
import { parseAddress, type FunctionAddress } from "@iommu-lab/pci-bus";
import { VgaArbiter, type VgaArbiterOptions, type VgaBridge, type VgaDevice } from "../src/index.ts";

export const at = (text: string): FunctionAddress => {
  const address = parseAddress(text);
  if (!address) throw new Error(`${text} is no address`);
  return address;
};

/** 256 bytes of configuration space without masks; `readOnly` bytes keep their values. */
class Bytes {
  readonly bytes = new Uint8Array(256);
  readonly readOnly = new Set<number>();
  read(offset: number, size: AccessSize): number {
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + (this.bytes[offset + i] ?? 0xff);
    return value;
  }
  write(offset: number, size: AccessSize, value: number): void {
    for (let i = 0; i < size; i++) if (!this.readOnly.has(offset + i)) this.bytes[offset + i] = (value >>> (8 * i)) & 0xff;
  }
}

export interface FakeBridge extends VgaBridge {
  readonly config: Bytes;
}
export interface FakeDevice extends VgaDevice {
  readonly config: Bytes;
}

export const bridge = (address: string, vgaEnable = false): FakeBridge => {
  const config = new Bytes();
  config.write(0x3e, 2, vgaEnable ? 8 : 0);
  return { address: at(address), config };
};

export const device = (address: string, command: number, bridges: readonly VgaBridge[] = [], rest: Partial<VgaDevice> = {}): FakeDevice => {
  const config = new Bytes();
  config.write(4, 2, command);
  return { address: at(address), classCode: 0x03_0000, bridges, ...rest, config };
};

export const vgaEnable = ({ config }: FakeBridge): boolean => (config.read(0x3e, 2) & 8) !== 0;
export const command = ({ config }: FakeDevice): number => config.read(4, 2);

/** An arbiter and the lines it logs. */
export const arbiterFor = (devices: readonly VgaDevice[], options: Partial<VgaArbiterOptions> = {}): { readonly arbiter: VgaArbiter; readonly log: string[] } => {
  const log: string[] = [];
  const arbiter = new VgaArbiter({ kernel: "6.12", log: (line) => log.push(line), ...options });
  arbiter.scan(devices);
  return { arbiter, log };
};

export const kernels = ["6.1", "6.12", "7.2"] as const;
