"""What the tests share: a made-up corpus, real servers on 127.0.0.1, and `px` as a real process."""
