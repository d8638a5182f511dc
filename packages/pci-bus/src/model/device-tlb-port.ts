import type { Clock } from "../clock.ts";
import type { DownstreamPort } from "../iommu.ts";
import { formatRequester, type RequesterId } from "../requester-id.ts";
import type { DeviceTlbInvalidation, PageResponse } from "../transaction.ts";
import type { Attachment } from "./fabric.ts";

/** An IOMMU's way down: invalidate requests and page responses, routed by requester ID. PCIe §10.3, §10.4.2. */
export class DeviceTlbPort implements DownstreamPort {
  readonly #clock: Clock;
  readonly #find: (requester: RequesterId) => Attachment | undefined;

  constructor(clock: Clock, find: (requester: RequesterId) => Attachment | undefined) {
    this.#clock = clock;
    this.#find = find;
  }

  invalidateDeviceTlb(requester: RequesterId, invalidation: DeviceTlbInvalidation, timeout: number, complete: (outcome: "completed" | "timed-out") => void): void {
    const seat = this.#find(requester);
    const fabric = seat?.fn.fabric;
    if (!seat || !fabric) {
      complete("timed-out");
      return;
    }
    seat.hop("sent", `PCIe §10.3.1: invalidate request to ${formatRequester(requester)}`);
    let open = true;
    const finish = (outcome: "completed" | "timed-out"): void => {
      if (!open) return;
      open = false;
      cancel();
      complete(outcome);
    };
    const cancel = this.#clock.after(timeout, () => {
      finish("timed-out");
    });
    fabric.invalidate(invalidation, () => {
      finish("completed");
    });
  }

  respondToPage(requester: RequesterId, response: PageResponse): void {
    this.#find(requester)?.fn.fabric?.pageResponse(response);
  }
}
