@rem `npm start` says "exec node ..." so that no shell stands between npm and the bot when Ctrl-C comes.
@rem Windows has no exec and needs none: this runs the rest of the line.
@%*
