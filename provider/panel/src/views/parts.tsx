/** Small parts that the sheets share. */

import type { ComponentChildren } from 'preact';
import { useEffect, useRef } from 'preact/hooks';
import { shortened } from '../chain/amounts';

/** The heading of a sheet. It takes the focus when the sheet was called for, so that keyboards and readers follow. */
export function Title({ children }: { children: string }) {
  const heading = useRef<HTMLHeadingElement>(null);
  const first = useRef(document.activeElement === document.body || document.activeElement === null);
  useEffect(() => {
    // At the first load the focus is nobody's to move; nor is it while somebody types a question, or is at the cards.
    const typing = document.activeElement?.matches('#question, #hub *');
    if (!typing && !(first.current && performance.now() < 2000)) heading.current?.focus({ preventScroll: true });
  }, [children]);
  return (
    <h2 ref={heading} tabIndex={-1}>
      {children}
    </h2>
  );
}

export function Facts({ rows }: { rows: readonly (readonly [string, ComponentChildren])[] }) {
  return (
    <dl class="facts">
      {rows.map(([name, value]) => (
        <div key={name}>
          <dt>{name}</dt>
          <dd>{value}</dd>
        </div>
      ))}
    </dl>
  );
}

/** An address by its ends, whole for readers and on hover. */
export function Address({ of }: { of: string }) {
  return (
    <code title={of} aria-label={of} role="img">
      {shortened(of)}
    </code>
  );
}

export function List({ title, items }: { title: string; items: readonly string[] }) {
  return (
    <section class="terms">
      <h3>{title}</h3>
      <ul>
        {items.map((item) => (
          <li key={item}>{item}</li>
        ))}
      </ul>
    </section>
  );
}
