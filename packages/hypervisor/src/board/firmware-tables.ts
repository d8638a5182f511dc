import { encodeIvrs } from "@iommu-lab/iommu-amd/ivrs";
import { encodeDmar } from "@iommu-lab/iommu-intel/dmar";
import type { Hpa } from "@iommu-lab/memory";
import type { RequesterId } from "@iommu-lab/pci-bus";

const IDENTITY = { oemId: "IOMMUL", oemTableId: "IOMMULAB" } as const;
/** Linux knows the I/O APIC of an AMD machine by the southbridge's place: 00:14.0. */
const SOUTHBRIDGE = 0x00a0;
/** The requester that a DMAR table gives the I/O APIC: on a bus where no device is. */
const IO_APIC_BUS = 0xff;
const IO_APIC = 3;
const IVHD_EXTENDED = 0x11;
const LAST_BUS_0 = 0xff;

/** What the tables tell beside the kind of IOMMU. */
export interface TableFacts {
  readonly registerBase: Hpa;
  readonly interruptRemapping: boolean;
  readonly ioApicId: number;
}

/** A DMAR table with one unit for everything. VT-d §8. @param ats root ports, and so all functions on bus 0, may use device-TLBs */
export const dmarTable = ({ registerBase, interruptRemapping, ioApicId }: TableFacts, hostAddressWidth: number, ats: boolean): Uint8Array =>
  encodeDmar({
    header: IDENTITY,
    hostAddressWidth,
    interruptRemapping,
    structures: [
      {
        name: "DRHD",
        type: 0,
        segment: 0,
        includeAll: true,
        registerBase: BigInt(registerBase),
        scopes: interruptRemapping ? [{ type: IO_APIC, enumerationId: ioApicId, startBus: IO_APIC_BUS, path: [{ device: 0, function: 0 }] }] : [],
      },
      ...(ats ? [{ name: "ATSR", type: 2, segment: 0, allPorts: true, scopes: [] } as const] : []),
    ],
  });

/** What an IVRS table tells of the IOMMU itself. */
export interface IvrsFacts {
  readonly deviceId: RequesterId;
  readonly capabilityOffset: number;
  readonly extendedFeatures: bigint;
  readonly extendedFeatures2: bigint;
  readonly physicalAddressWidth: number;
}

/** An IVRS table with one IOMMU for bus 0. A small range: Linux flushes every DeviceID in it one by one. AMD-Vi §5.2. */
export const ivrsTable = ({ registerBase, interruptRemapping, ioApicId }: TableFacts, facts: IvrsFacts): Uint8Array =>
  encodeIvrs({
    header: IDENTITY,
    extendedFeatureReporting: true,
    guestVirtualAddressSize: 2,
    physicalAddressSize: facts.physicalAddressWidth,
    virtualAddressSize: 64,
    structures: [
      {
        name: "IVHD",
        type: IVHD_EXTENDED,
        deviceId: facts.deviceId,
        capabilityOffset: facts.capabilityOffset,
        registerBase: BigInt(registerBase),
        segment: 0,
        extendedFeatures: facts.extendedFeatures,
        extendedFeatures2: facts.extendedFeatures2,
        entries: [
          { name: "range-start", type: 0x03, deviceId: 0 },
          { name: "range-end", type: 0x04, deviceId: LAST_BUS_0 },
          ...(interruptRemapping ? [{ name: "special", type: 0x48, handle: ioApicId, sourceId: SOUTHBRIDGE, variety: 1 } as const] : []),
        ],
      },
    ],
  });
