import { useEffect, useRef } from "preact/hooks";
import type { ComponentChildren, VNode } from "preact";

/** A dialog over the page: focus goes in and comes back, Escape closes. */
export const Modal = ({ title, closeLabel, onClose, children }: { readonly title: string; readonly closeLabel: string; readonly onClose: () => void; readonly children: ComponentChildren }): VNode => {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => {
    const shown = dialog.current;
    const before = document.activeElement;
    shown?.showModal();
    return () => {
      shown?.close();
      if (before instanceof HTMLElement) before.focus();
    };
  }, []);
  return (
    <dialog ref={dialog} aria-label={title} onClose={onClose} onClick={(event) => { if (event.target === dialog.current) onClose(); }}>
      <header><h2>{title}</h2><button type="button" onClick={onClose} aria-label={closeLabel}>✕</button></header>
      {children}
    </dialog>
  );
};
