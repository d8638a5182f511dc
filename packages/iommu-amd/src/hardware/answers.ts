import { Access, Completion, MemoryType, type Translation } from "@iommu-lab/pci-bus";

const EVERYTHING = Access.Read | Access.Write | Access.Execute;

/** A translation. @param allowed what the device table entry allows at most */
export const answer = (out: Translation, page: number, shift: number, rights: Access, allowed: Access, snoop: boolean): void => {
  out.page = page;
  out.pageShift = shift;
  out.permissions = rights & allowed;
  out.global = false;
  out.memoryType = MemoryType.WriteBack;
  out.snoop = snoop;
  out.fault = 0;
  out.recorded = false;
  out.completion = Completion.Successful;
};

/** The address is the host-physical address, whatever the entry allows. */
export const passUntranslated = (out: Translation, page: number): void => {
  answer(out, page, 12, EVERYTHING, EVERYTHING, false);
};

/** The answer to a translation request that a page fault ends: the page has no rights. AMD-Vi §2.5.3. */
export const answerWithoutRights = (out: Translation, page: number): void => {
  answer(out, page, 12, 0, 0, false);
};

/** No translation. @param fault an event's code, or 0; @param recorded whether it went to the log */
export const refuse = (out: Translation, completion: Completion, fault: number, recorded: boolean): void => {
  out.page = 0;
  out.pageShift = 12;
  out.permissions = 0;
  out.global = false;
  out.memoryType = MemoryType.Uncacheable;
  out.snoop = false;
  out.fault = fault;
  out.recorded = recorded;
  out.completion = completion;
};
