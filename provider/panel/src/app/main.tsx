import { render } from 'preact';
import '../styles/panel.css';
import { TEXTS } from '../texts/en';

render(<h1>{TEXTS.title}</h1>, document.getElementById('app')!);
