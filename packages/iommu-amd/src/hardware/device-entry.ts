import type { AmdInterruptFields } from "@iommu-lab/interrupt-remap/amd";
import type { HostTable } from "./host-walker.ts";
import type { GuestTable } from "./guest-walker.ts";

const NOT_CACHED = -1;

/**
 * A device table entry in the form translation uses. Reused: never keep one across an invalidation. AMD-Vi §2.2.2.
 */
export class DeviceEntry implements HostTable, GuestTable {
  /** The invalidation of everything since which it may be used from the cache; or `NOT_CACHED`. */
  cachedSince = NOT_CACHED;
  deviceId = 0;
  /** V: the DMA half counts. */
  valid = false;
  /** Why the DMA half may not be used, an `EntryFault`. */
  dmaFault = 0;
  /** Why the interrupt half may not be used, an `EntryFault`. */
  interruptFault = 0;
  /** TV. */
  translates = false;
  domain = 0;
  /** `Access` bits of IR and IW. */
  rights = 0;
  /** The same with execute requests, which are reads. */
  allowed = 0;
  hostLevels = 0;
  hostTable = 0;
  hostAccessed = false;
  hostDirty = false;
  /** Tag of cached host translations; 0 for none. */
  hostSpace = 0;
  pageRequests = false;
  /** GPRP: page responses carry the PASID. */
  responsePasid = false;
  /** GIoV: requests without PASID are of PASID 0. */
  guestForPlain = false;
  /** GV, with guest translation enabled. */
  guest = false;
  gcr3Levels = 1;
  gcr3Table = 0;
  guestLevels = 4;
  /** I. */
  ats = false;
  suppressAll = false;
  suppressRepeated = false;
  portIo = 0;
  systemManagement = 0;
  exclusion = false;
  /** Mode0FC. */
  forceCoherent = false;
  /** Epoch in which the tags below were looked up. */
  epoch = -1;
  /** The PASID that `guestSpace` belongs to. */
  guestPasid = -1;
  guestSpace = 0;
  /** Of the last request that tables translated: the epoch in which it was, its PASID, the tag of its translation, and whether of guest tables. */
  recentEpoch = -1;
  recentPasid = -1;
  recentSpace = 0;
  recentGuest = false;
  readonly interrupt: AmdInterruptFields = {
    valid: false,
    control: 0,
    tableLength: 0,
    tablePage: 0,
    ignoreUnmapped: false,
    suppressAll: false,
    initPass: false,
    externalPass: false,
    nmiPass: false,
    lint0Pass: false,
    lint1Pass: false,
  };

  /** It may not be used from the cache any more. */
  forget(): void {
    this.cachedSince = NOT_CACHED;
    this.recentEpoch = -1;
  }
}

/** What is wrong with half a device table entry: it is ILLEGAL_DEV_TABLE_ENTRY, with RZ for reserved bits. */
export const EntryFault = { None: 0, Reserved: 1, Illegal: 2 } as const;
