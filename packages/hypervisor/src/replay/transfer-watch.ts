import type { AddressSpace, Hpa } from "@iommu-lab/memory";

/** What watches transfers between devices and memory; `move` does the transfer. */
interface TransferWatch {
  read(at: Hpa, bytes: Uint8Array, move: () => void): void;
  write(at: Hpa, bytes: Uint8Array, move: () => void): void;
}

/** Memory whose transfers are watched. */
export const watchTransfers = <M extends AddressSpace<Hpa>>(memory: M, watch: TransferWatch): M =>
  new Proxy(memory, {
    get: (target, name) => {
      if (name === "readInto") return (at: Hpa, bytes: Uint8Array) => { watch.read(at, bytes, () => { target.readInto(at, bytes); }); };
      if (name === "writeFrom") return (at: Hpa, bytes: Uint8Array) => { watch.write(at, bytes, () => { target.writeFrom(at, bytes); }); };
      const value: unknown = Reflect.get(target, name);
      return typeof value === "function" ? (value.bind(target) as unknown) : value;
    },
  });
