import { render } from 'preact';
import './exit.css';
import { ExitPage } from './page';

const root = document.getElementById('exit');
if (root) render(<ExitPage />, root);
